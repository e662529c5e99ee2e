"""What computes images and questions in `llava_med` on a CPU: OpenVINO, or torch.

Compiled, both take two thirds to three quarters of torch's time
(docs/decisions/0015-cpu-engines.md). The graphs are made of the loaded module itself when the stage
starts: no second network, no file in the release.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from organseg.contract import CpuEngine, LanguageModelWeights
from organseg.errors import EngineError
from organseg.networks.known_images import ImagePrefix, QuestionTail, RunPrefix, RunTail
from organseg.networks.prompt import SHORTEST_BUCKET
from organseg.networks.vision_language import VisionLanguage
from organseg.serving.openvino_graph import compile_options, import_openvino
from organseg.serving.stage import StageContext

_LOG = logging.getLogger(__name__)
_ANY = -1


@dataclass(frozen=True)
class LanguageEngines:
    """What runs the two parts of a prompt; torch where it is None."""

    prefix: RunPrefix | None = None
    """An image and the fixed text."""
    tail: RunTail | None = None
    """A question on top of them."""


def load_language_engines(
    context: StageContext, vision_language: VisionLanguage
) -> LanguageEngines:
    """OpenVINO where the stage's first engine is that, in float32 on a CPU; torch elsewhere.

    Where OpenVINO is missing, torch is taken and the log says why, if the stage's engines allow it.

    Raises:
        EngineError: OpenVINO is missing, and nothing else is allowed.
    """
    chosen = context.language_model
    is_float32 = chosen is None or chosen.weights is LanguageModelWeights.FP32
    if context.device != "cpu" or not is_float32 or context.engines[:1] != (CpuEngine.OPENVINO,):
        return LanguageEngines()
    try:
        return LanguageEngines(
            OpenVinoPrefix(vision_language, threads=context.threads),
            OpenVinoTail(vision_language, threads=context.threads),
        )
    except EngineError as error:
        if CpuEngine.TORCH not in context.engines:
            raise
        _LOG.warning("llava_med runs by %s: %s", CpuEngine.TORCH.value, error)
        return LanguageEngines()


class OpenVinoPrefix:
    """An `ImagePrefix` compiled by OpenVINO for one picture; those of a batch follow each other.

    On a CPU a batch costs what its pictures cost one by one.
    """

    def __init__(self, vision_language: VisionLanguage, *, threads: int) -> None:
        """Traces and compiles the module; raises `EngineError` where OpenVINO is not installed."""
        side = vision_language.size.image_size
        self._compiled = _Compiled(
            ImagePrefix(vision_language),
            [torch.zeros(1, side, side, dtype=torch.uint8)],
            shapes=[(1, side, side)],
            threads=threads,
        )

    def __call__(self, vlm_pixels: Tensor) -> tuple[Tensor, ...]:
        """What `ImagePrefix.forward` gives; several threads may call, they wait for each other."""
        rows = [self._compiled.run([pixels[None]]) for pixels in vlm_pixels]
        return tuple(torch.cat(parts) for parts in zip(*rows, strict=True))


class OpenVinoTail:
    """A `QuestionTail` compiled by OpenVINO for one question of any length."""

    def __init__(self, vision_language: VisionLanguage, *, threads: int) -> None:
        """Traces and compiles the module; raises `EngineError` where OpenVINO is not installed."""
        text: Any = vision_language.language_model.config
        head = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
        known = (1, text.num_key_value_heads, len(vision_language.prompts.prefix), head)
        blocks = 2 * text.num_hidden_layers
        self._compiled = _Compiled(
            QuestionTail(vision_language),
            [
                torch.zeros(1, SHORTEST_BUCKET, dtype=torch.long),
                *(torch.zeros(known) for _ in range(blocks)),
            ],
            shapes=[(1, _ANY), *[known] * blocks],
            threads=threads,
        )

    def __call__(self, token_ids: Tensor, *blocks: Tensor) -> Tensor:
        """What `QuestionTail.forward` gives; several threads may call, they wait for each other."""
        rows = [
            self._compiled.run([part[row : row + 1] for part in (token_ids, *blocks)])
            for row in range(len(token_ids))
        ]
        return torch.cat([hidden for (hidden,) in rows])


class _Compiled:
    """A module as a graph on the CPU in float32, one call at a time."""

    def __init__(
        self,
        module: nn.Module,
        example: Sequence[Tensor],
        *,
        shapes: Sequence[tuple[int, ...]],
        threads: int,
    ) -> None:
        openvino = import_openvino()
        with warnings.catch_warnings(), torch.no_grad():
            # Tracing warns of every branch on a shape; what may vary is held by the tests.
            warnings.simplefilter("ignore")
            graph = openvino.convert_model(
                module.eval(), example_input=tuple(example), input=[list(shape) for shape in shapes]
            )
        self._request = (
            openvino.Core()
            .compile_model(graph, "CPU", compile_options(threads, bfloat16=False))
            .create_infer_request()
        )
        self._lock = Lock()

    def run(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """The module's outputs in their order."""
        arrays = [np.ascontiguousarray(each.numpy()) for each in inputs]
        with self._lock:
            # Outputs are copied, as the next call overwrites them.
            found = self._request.infer(arrays, share_inputs=True, share_outputs=False)
            return [torch.from_numpy(found[index]) for index in range(len(found))]
