"""The stages in process, without Triton: chained they are the torch reference."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from constructed import PICTURES, QUESTIONS, constructed_checkpoint
from flow_stages import STAGES
from organseg.contract import (
    CONTRACT_PARAMETER,
    CONTRACT_VERSION,
    TINY,
    ImageFeatures,
    ensembles_of,
    served_models,
)
from organseg.errors import ContractError, ImageError, InvalidInputError
from organseg.imaging.decoding import decode_image
from organseg.serving.stage import Arrays, Stage, StageContext, StageRequest
from organseg.serving.threads import THREADS_VARIABLE, engine_threads
from organseg.serving.triton_model import error_text


@pytest.fixture(scope="module")
def stages(release: Path) -> dict[str, Stage]:
    return {
        stage.name: stage(StageContext(TINY, release / "models" / stage.name / "1", threads=1))
        for stage in STAGES
    }


def client_request(image: bytes, question: str, **parameters: str) -> StageRequest:
    return StageRequest(
        {
            "IMAGE": np.array([[image]], dtype=np.object_),
            "QUERY": np.array([[question.encode()]], dtype=np.object_),
        },
        parameters,
    )


def walk(stages: dict[str, Stage], requests: list[StageRequest]) -> list[Arrays]:
    """All stages in the order of the flow, every stage on all requests at once."""
    known = [dict(request.inputs) for request in requests]
    for stage in stages.values():
        names = [tensor.name for tensor in stage.model.inputs]
        answers = stage.run(
            [StageRequest({n: tensors[n] for n in names if n in tensors}) for tensors in known]
        )
        for tensors, answer in zip(known, answers, strict=True):
            assert not isinstance(answer, Exception), answer
            tensors.update(answer)
    return known


def test_every_stage_of_the_contract_has_a_class_of_its_name():
    (direct,) = ensembles_of(TINY, ImageFeatures.DIRECT)
    assert [stage.name for stage in STAGES] == [model.name for model in direct.stages]


def test_the_chained_stages_give_the_reference_answer_alone_and_joined(stages):
    checkpoint = constructed_checkpoint()
    # One organ each, so that all requests of the decoder have one shape.
    cases = list(zip(PICTURES, list(QUESTIONS)[:4], strict=True))
    joined = walk(stages, [client_request(*case) for case in cases])
    for case, together in zip(cases, joined, strict=True):
        alone = walk(stages, [client_request(*case)])[0]
        wanted = checkpoint.organ_seg.answer(
            decode_image(case[0]), case[1], checkpoint.cache.thresholds
        ).answer
        for got in (alone, together):
            assert got["ORGANS"][0].tolist() == wanted.organs.tolist()
            assert [v.decode() for v in got["VERDICTS"][0]] == [v.value for v in wanted.verdicts]
            assert (got["MASKS"][0] != wanted.masks).mean() <= 1e-3


def test_every_output_has_the_contracts_type_and_rank(stages):
    tensors = walk(stages, [client_request(PICTURES[0], "Outline the liver, please.")])[0]
    for stage in stages.values():
        for declared in stage.model.outputs:
            array = tensors[declared.name]
            assert array.dtype == declared.dtype.numpy, declared.name
            assert array.shape[0] == 1
            for axis, size in zip(declared.axes, array.shape[1:], strict=True):
                assert axis.min <= size <= axis.max, (declared.name, axis.name)


def test_a_bad_request_fails_alone_in_a_stage_that_takes_them_one_by_one(stages):
    good = client_request(PICTURES[0], "spleen")
    bad = client_request(b"not an image", "spleen")
    answers = stages["preprocess"].run([good, bad, good])
    assert isinstance(answers[1], ImageError)
    assert all(isinstance(answers[index], dict) for index in (0, 2))


def test_a_bad_request_fails_alone_in_a_stage_that_joins_them(stages):
    prepared = stages["preprocess"].run([client_request(PICTURES[0], "spleen")])[0]
    good = StageRequest({"sam_pixels": prepared["sam_pixels"]})
    bad = StageRequest({"sam_pixels": prepared["sam_pixels"].astype(np.float32)})
    answers = stages["image_encoder"].run([good, bad, good])
    assert isinstance(answers[1], Exception)
    np.testing.assert_array_equal(answers[0]["image_embeddings"], answers[2]["image_embeddings"])


def test_preprocess_refuses_batches_and_foreign_contracts(stages):
    request = client_request(PICTURES[0], "spleen")
    doubled = StageRequest({name: np.repeat(a, 2, axis=0) for name, a in request.inputs.items()})
    assert isinstance(stages["preprocess"].run([doubled])[0], InvalidInputError)
    foreign = client_request(PICTURES[0], "spleen", **{CONTRACT_PARAMETER: "other"})
    assert isinstance(stages["preprocess"].run([foreign])[0], ContractError)
    own = client_request(PICTURES[0], "spleen", **{CONTRACT_PARAMETER: CONTRACT_VERSION})
    assert isinstance(stages["preprocess"].run([own])[0], dict)


def test_a_foreign_errors_own_words_never_leave_the_process():
    said = error_text(KeyError("/secret/path/patient.dcm"))
    assert "secret" not in said
    assert "KeyError" in said
    assert error_text(ImageError("wanted a PNG")) == "ImageError: wanted a PNG"


def test_every_model_file_is_at_most_forty_lines():
    root = Path(__file__).resolve().parents[2] / "model_repository"
    files = sorted(root.glob("*/1/model.py"))
    assert [path.parts[-3] for path in files] == sorted(model.name for model in served_models(TINY))
    for path in files:
        assert len(path.read_text().splitlines()) <= 40


def test_the_users_threads_override_the_deployment_tables(monkeypatch):
    monkeypatch.delenv(THREADS_VARIABLE, raising=False)
    assert engine_threads({"threads": "2"}) == 2
    monkeypatch.setenv(THREADS_VARIABLE, "5")
    assert engine_threads({"threads": "2"}) == 5
