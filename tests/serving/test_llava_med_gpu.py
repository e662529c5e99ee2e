"""The language model's stage on a GPU, against the same stage on the CPU."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from constructed import PICTURES, QUESTIONS
from organseg.contract import TINY, LanguageModel, LanguageModelWeights, Placement, names
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
                    names.IMAGE_KEY: prepared.image_key[np.newaxis],
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


@pytest.mark.parametrize("weights", LanguageModelWeights)
@pytest.mark.parametrize("placement", Placement)
def test_every_choice_gives_the_states_of_the_same_weights_on_a_cpu(release, weights, placement):
    if weights.is_quantised:
        pytest.importorskip("bitsandbytes")
    folder = release / "models" / "llava_med" / "1"
    prepared = prepare(PICTURES[0], next(iter(QUESTIONS)).encode(), None, TINY)
    request = StageRequest(
        {
            names.IMAGE_KEY: prepared.image_key[np.newaxis],
            names.VLM_PIXELS: prepared.vlm_pixels[np.newaxis],
            names.QUESTION: np.array([[prepared.question.encode()]], dtype=np.object_),
        }
    )
    contexts = (
        StageContext(TINY, folder, threads=1, language_model=LanguageModel(weights)),
        StageContext(
            TINY,
            folder,
            threads=1,
            device="cuda:0",
            language_model=LanguageModel(weights, placement),
        ),
    )
    on_cpu, on_gpu = (LlavaMedStage(context).run([request])[0] for context in contexts)
    for name in (names.ANSWER_STATE, names.PATCH_STATES):
        reference, state = (side[name].astype(np.float32) for side in (on_cpu, on_gpu))
        cosine = (reference * state).sum() / np.linalg.norm(reference) / np.linalg.norm(state)
        # The same weights on both sides: the order of sums differs, in bfloat16 at worst.
        assert cosine > 0.99
