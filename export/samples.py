"""The inputs that graphs are exported and compared with: made by the flow itself.

Graphs are fed what they will be fed when they serve: real states of real prompts, embeddings of
pictures with structure, boxes of the heads. White noise would hide an error that only shows
where activations are large.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from organseg.contract import Model, names
from organseg.imaging.resizing import model_pixels
from organseg.networks.organ_seg import OrganSeg

QUESTIONS = (
    "Which organ stores bile?",
    "Segment the spleen and the left kidney.",
    "What is the capital of France?",
)


def flow_inputs(organ_seg: OrganSeg, batch: int, *, seed: int = 0) -> dict[str, Tensor]:
    """Every tensor that a graph stage reads, by name, for a batch of made-up requests.

    Args:
        organ_seg: the torch reference.
        batch: how many requests; they differ in picture and question.
        seed: of the pictures.
    """
    generator = np.random.default_rng(seed)
    preset = organ_seg.preset
    pictures = [_picture(generator) for _ in range(batch)]
    questions = [QUESTIONS[index % len(QUESTIONS)] for index in range(batch)]

    def resized(side: int) -> Tensor:
        return torch.from_numpy(np.stack([model_pixels(picture, side) for picture in pictures]))

    with torch.inference_mode():
        sam_pixels = resized(preset.segmenter.image_size)
        states = organ_seg.vision_language(resized(preset.vision_language.image_size), questions)
        tensors = {
            names.SAM_PIXELS: sam_pixels,
            names.ANSWER_STATE: states.answer_state,
            names.PATCH_STATES: states.patch_states,
            names.IMAGE_EMBEDDINGS: organ_seg.segmenter.encode_image(sam_pixels),
        }
        found = organ_seg.extractors(states.answer_state, states.patch_states)
        # Two prompts an image: the batch and the prompt axis must not be taken for one.
        tensors[names.PROMPT_BOXES] = found.boxes[:, :2]
    return {name: tensor.clone() for name, tensor in tensors.items()}


def inputs_of(model: Model, tensors: dict[str, Tensor]) -> tuple[Tensor, ...]:
    """The inputs of one stage, in its order and in the contract's types."""
    return tuple(
        tensors[tensor.name].to(getattr(torch, str(tensor.dtype.numpy))) for tensor in model.inputs
    )


def _picture(generator: np.random.Generator) -> npt.NDArray[np.uint8]:
    """A smooth random picture with an edge or two, uint8 [200, 220]."""
    coarse = generator.normal(size=(8, 9))
    rows, columns = np.linspace(0, 7, 200), np.linspace(0, 8, 220)
    smooth = np.stack([np.interp(columns, np.arange(9), row) for row in coarse])
    smooth = np.stack([np.interp(rows, np.arange(8), column) for column in smooth.T]).T
    smooth[40 : int(generator.integers(90, 160)), 60:150] += 2.0
    span = smooth.max() - smooth.min()
    grey: npt.NDArray[np.uint8] = ((smooth - smooth.min()) / span * 255).astype(np.uint8)
    return grey
