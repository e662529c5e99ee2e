"""A checkpoint whose answers are known: random weights, heads solved for a few questions.

The language model and the segmenter keep their seeded random weights. The last layer of each
extractor head is solved by ridge regression, so that every question of `QUESTIONS` gives its
organ on every picture of `PICTURES`, and so that the spleen is in no picture. Nothing else is
changed: cache, gate, decoder and server are as they always are.
"""

from __future__ import annotations

import io
from functools import lru_cache

import numpy as np
import torch
from PIL import Image, ImageFilter

from organseg.contract import TINY
from organseg.imaging.decoding import decode_image
from organseg.imaging.resizing import model_pixels
from organseg.networks.build import build_checkpoint
from organseg.networks.checkpoint import Checkpoint
from organseg.networks.lora import add_lora
from organseg.organs import NONE, ORGANS

QUESTIONS: dict[str, tuple[int, ...]] = {
    "Which organ stores bile?": (9,),
    "Outline the liver, please.": (1,),
    "Segment the spleen": (3,),
    "where does food go after the gullet": (11,),
    "Show me the liver and the aorta.": (1, 5),
    "Which organ is responsible for breathing?": (),
    "What is the capital of France?": (),
}
"""Each question's organ ids; none for a question that is out of scope."""

SPLEEN_ID = 3
"""The organ that no picture shows."""


def _picture(seed: int, size_wh: tuple[int, int]) -> bytes:
    generator = np.random.default_rng(seed)
    noise = Image.fromarray(generator.integers(0, 256, size_wh[::-1], dtype=np.uint8))
    smooth = noise.filter(ImageFilter.GaussianBlur(9))
    pixels = np.asarray(smooth, dtype=np.float32)
    pixels = (pixels - pixels.min()) / np.ptp(pixels) * 255
    rows, columns = np.indices(pixels.shape)
    pixels[(rows - 80) ** 2 + (columns - 40 - 20 * seed) ** 2 < 900] = 220
    return png(pixels.astype(np.uint8))


def png(pixels: np.ndarray) -> bytes:
    """A uint8 [H, W] picture as PNG."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()


PICTURES: tuple[bytes, ...] = tuple(
    _picture(seed, size)
    for seed, size in enumerate([(200, 160), (180, 180), (240, 200), (160, 220)])
)
"""Four encoded pictures of different sizes."""

BLANK_PICTURE = png(np.full((120, 140), 77, dtype=np.uint8))
"""A constant picture."""


@lru_cache(maxsize=1)
def constructed_checkpoint() -> Checkpoint:
    """The checkpoint, with a LoRA adapter that does something and waits to be merged."""
    checkpoint = build_checkpoint(TINY, seed=7)
    _adapt(checkpoint)
    _solve_heads(checkpoint)
    return checkpoint


@torch.no_grad()
def _adapt(checkpoint: Checkpoint) -> None:
    vision_language = checkpoint.organ_seg.vision_language
    generator = torch.Generator().manual_seed(3)
    adapted = add_lora(vision_language.llava)
    for name, weight in adapted.named_parameters():
        # PEFT starts B at zero, so that a fresh adapter changes nothing.
        if "lora_B" in name:
            weight.copy_(0.05 * torch.randn(weight.shape, generator=generator))
    vision_language.llava = adapted.eval()


@torch.no_grad()
def _solve_heads(checkpoint: Checkpoint) -> None:
    organ_seg, cache = checkpoint.organ_seg, checkpoint.cache
    organs, irrelevant = cache.organ_prototypes, cache.irrelevant_prototypes
    hidden, targets, queries = [], [], []
    captured: list[torch.Tensor] = []
    extractor = organ_seg.extractors.segment_information
    # Certain of nothing, so that a box is where an organ's claim is strongest: one of its own.
    extractor.kernel.weight.mul_(2.0)
    extractor.kernel.bias[-1] = -100.0
    hook = extractor.presence[-1].register_forward_hook(lambda _, ins, __: captured.append(ins[0]))
    for picture in (*PICTURES, BLANK_PICTURE):
        pixels = decode_image(picture).pixels
        resized = model_pixels(pixels, TINY.vision_language.image_size)
        batch = torch.from_numpy(np.stack([resized] * len(QUESTIONS)))
        states = organ_seg.vision_language(batch, list(QUESTIONS))
        # What serving sees has been through half precision.
        answer_state, patch_states = (state.half().float() for state in states)
        organ_seg.extractors(answer_state, patch_states)
        queries.append(captured.pop())
        hidden.append(organ_seg.extractors.information_of_interest.layers[:-1](answer_state))
        targets += [
            organs[[i - 1 for i in ids]].sum(axis=0) if ids else irrelevant[0]
            for ids in QUESTIONS.values()
        ]
    hook.remove()

    target = torch.from_numpy(np.stack(targets))
    target = target / target.norm(dim=1, keepdim=True)
    _solve(organ_seg.extractors.information_of_interest.layers[-1], torch.cat(hidden), target)

    states = torch.cat(queries)
    shown = torch.tensor([0.0 if o.id == SPLEEN_ID else 1.0 for o in ORGANS])
    logits = (8 * shown - 4).expand(len(states), -1).reshape(-1, 1)
    _solve(extractor.presence[-1], states.flatten(0, 1), logits)


def _solve(layer: torch.nn.Linear, inputs: torch.Tensor, targets: torch.Tensor) -> None:
    """Sets a linear layer to the ridge regression of targets on inputs."""
    with_bias = torch.cat([inputs, torch.ones(len(inputs), 1)], dim=1).double()
    gram = with_bias.T @ with_bias
    gram += 1e-6 * gram.diagonal().mean() * torch.eye(len(gram), dtype=torch.float64)
    solution = torch.linalg.solve(gram, with_bias.T @ targets.double()).float()
    layer.weight.copy_(solution[:-1].T)
    layer.bias.copy_(solution[-1])


def expected_organs(question: str) -> list[int]:
    """The organ ids that the answer to a question of `QUESTIONS` lists."""
    return list(QUESTIONS[question]) or [NONE.id]
