"""The embedded server with its language model on a GPU, and how a release is changed for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.gpu.server import place_on_gpu, served
from constructed import PICTURES, QUESTIONS, expected_organs
from organseg.contract.pbtxt import parse_config
from organseg.serving.manifest import MODELS_FOLDER, verify_release
from organseg_client import OrganSegClient


def test_the_language_model_alone_is_placed_on_the_gpu_in_a_copy(release: Path, tmp_path: Path):
    models = release / MODELS_FOLDER
    copy = place_on_gpu(models, tmp_path / "models")
    files = {path.relative_to(models) for path in models.rglob("*")}
    assert {path.relative_to(copy) for path in copy.rglob("*")} == files
    for path in files:
        original, copied = models / path, copy / path
        if original.is_dir():
            continue
        if path.parts != ("llava_med", "config.pbtxt"):
            assert copied.read_bytes() == original.read_bytes()
            continue
        before, after = (parse_config(each.read_text()) for each in (original, copied))
        (group,) = after.instance_group
        assert group.kind == group.KIND_GPU
        group.kind = group.KIND_CPU
        assert after == before
    # Nothing was written into the release.
    verify_release(release)


@pytest.mark.gpu
@pytest.mark.server
@pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA GPU")
def test_with_its_language_model_on_a_gpu_it_answers_as_on_a_cpu(
    release: Path, server_address: str
):
    answers = {}
    with served(release, on_cuda=True) as on_gpu:
        for place, address in (("cpu", server_address), ("gpu", on_gpu)):
            with OrganSegClient(address, deadline_s=120) as client:
                answers[place] = [client.segment(PICTURES[0], text) for text in QUESTIONS]
    for text, on_cpu, on_cuda in zip(QUESTIONS, answers["cpu"], answers["gpu"], strict=True):
        assert [organ.id for organ in on_cuda.organs] == expected_organs(text)
        assert [organ.verdict for organ in on_cuda.organs] == [
            organ.verdict for organ in on_cpu.organs
        ]
        # The graphs are the same; bfloat16 states may move a box by a few pixels.
        np.testing.assert_allclose(on_cuda.similarity, on_cpu.similarity, atol=0.05)
