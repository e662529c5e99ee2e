"""The language model's stage on a GPU, against the same stage on the CPU."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from constructed import PICTURES, QUESTIONS
from organseg.contract import TINY, names
from organseg.imaging.preprocess import prepare
from organseg.serving.stage import StageContext, StageRequest
from organseg.serving.stages.llava_med import LlavaMedStage

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA GPU"),
]


def test_bfloat16_states_on_a_gpu_are_those_of_the_cpu(release):
    folder = release / "models" / "llava_med" / "1"
    requests = []
    for picture, question in zip(PICTURES, QUESTIONS, strict=False):
        prepared = prepare(picture, question.encode(), None, TINY)
        requests.append(
            StageRequest(
                {
                    names.VLM_PIXELS: prepared.vlm_pixels[np.newaxis],
                    names.QUESTION: np.array([[prepared.question.encode()]], dtype=np.object_),
                }
            )
        )
    answers = [
        LlavaMedStage(StageContext(TINY, folder, threads=1, device=device)).run(requests)
        for device in ("cpu", "cuda:0")
    ]
    for on_cpu, on_gpu in zip(*answers, strict=True):
        for name in (names.ANSWER_STATE, names.PATCH_STATES):
            reference, state = (side[name].astype(np.float32) for side in (on_cpu, on_gpu))
            # bfloat16 has 8 bits of mantissa; unit-sized states pass through four layers.
            cosine = (reference * state).sum() / np.linalg.norm(reference) / np.linalg.norm(state)
            assert cosine > 0.99
