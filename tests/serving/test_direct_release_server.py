"""A release that keeps nothing, on the real server: the same answers as of one that does."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tritonclient.grpc import InferenceServerClient

from constructed import PICTURES, QUESTIONS
from organseg.contract import (
    ASK_NAME,
    ENCODE_NAME,
    FEATURES_NAME,
    SESSIONS_NAME,
    TINY,
    ImageFeatures,
    Platform,
)
from organseg.contract.pbtxt import render_configs
from organseg.serving.embedded import EmbeddedServer, EnsembleProbe, ServerOptions
from organseg_client import OrganSegClient

pytestmark = pytest.mark.server

PIXELS_THAT_MAY_DIFFER = 0.003
"""Of a mask: float32 sums in another order move a logit near zero over the threshold."""

CASES = [(picture, question) for picture in PICTURES[:2] for question in QUESTIONS]


@pytest.fixture(scope="module")
def direct(release: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    """A server of the same weights that computes everything for every request."""
    models = tmp_path_factory.mktemp("direct") / "models"
    shutil.copytree(release / "models", models)
    for name in (FEATURES_NAME, SESSIONS_NAME, ENCODE_NAME, ASK_NAME):
        shutil.rmtree(models / name)
    texts = render_configs(TINY, Platform.PYTHON, image_features=ImageFeatures.DIRECT)
    for name, text in texts.items():
        (models / name / "config.pbtxt").write_text(text)
    options = ServerOptions(grpc_port=0, http_port=0, metrics_port=0)
    with EmbeddedServer(models, options, probe=EnsembleProbe()) as started:
        yield started


def test_answers_are_the_same_with_and_without_what_is_kept(direct, server_address):
    with (
        OrganSegClient(server_address, deadline_s=120) as reusing,
        OrganSegClient(direct.grpc_address, deadline_s=120) as anew,
    ):
        for case in CASES:
            # Twice: the first may compute, the second knows the image.
            for got in (reusing.segment(*case), reusing.segment(*case)):
                wanted = anew.segment(*case)
                assert [organ.id for organ in got.organs] == [organ.id for organ in wanted.organs]
                assert [o.verdict for o in got.organs] == [o.verdict for o in wanted.organs]
                for mine, other in zip(got.masks, wanted.masks, strict=True):
                    assert (mine != other).mean() <= PIXELS_THAT_MAY_DIFFER


def test_every_request_is_computed_and_nothing_is_counted(direct):
    with (
        OrganSegClient(direct.grpc_address, deadline_s=120) as client,
        InferenceServerClient(direct.grpc_address) as triton,
    ):

        def encoded() -> int:
            (found,) = triton.get_inference_statistics("image_encoder", as_json=True)["model_stats"]
            return int(found["inference_count"])

        before = encoded()
        for _ in range(2):
            client.segment(*CASES[0])
        assert encoded() == before + 2
        assert not any(triton.is_model_ready(name) for name in (ENCODE_NAME, ASK_NAME))
