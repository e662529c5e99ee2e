"""What computes an image and the fixed text in `llava_med` on a CPU: OpenVINO, or torch.

A graph compiled for one picture takes three quarters of torch's time for the same sums. It is made
of the loaded module itself, when the stage starts: no second network, no file in the release.
Questions, a few tokens each, stay with torch.
"""

from __future__ import annotations

import logging
import warnings
from threading import Lock

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from organseg.contract import CpuEngine, LanguageModelWeights
from organseg.errors import EngineError
from organseg.networks.known_images import ImagePrefix, RunPrefix
from organseg.networks.vision_language import VisionLanguage
from organseg.serving.openvino_graph import compile_options, import_openvino
from organseg.serving.stage import StageContext

_LOG = logging.getLogger(__name__)


def load_prefix_engine(context: StageContext, vision_language: VisionLanguage) -> RunPrefix | None:
    """OpenVINO where the stage's first engine is that, in float32 on a CPU; None means torch.

    Where OpenVINO is missing, torch is taken and the log says why, if the stage's engines allow it.

    Raises:
        EngineError: OpenVINO is missing, and nothing else is allowed.
    """
    chosen = context.language_model
    is_float32 = chosen is None or chosen.weights is LanguageModelWeights.FP32
    if context.device != "cpu" or not is_float32 or context.engines[:1] != (CpuEngine.OPENVINO,):
        return None
    try:
        return OpenVinoPrefix(vision_language, threads=context.threads)
    except EngineError as error:
        if CpuEngine.TORCH not in context.engines:
            raise
        _LOG.warning("llava_med runs by %s: %s", CpuEngine.TORCH.value, error)
        return None


class OpenVinoPrefix:
    """An `ImagePrefix` compiled by OpenVINO for one picture; those of a batch follow each other.

    On a CPU a batch costs what its pictures cost one by one.
    """

    def __init__(self, vision_language: VisionLanguage, *, threads: int) -> None:
        """Traces and compiles the module; raises `EngineError` where OpenVINO is not installed."""
        openvino = import_openvino()
        side = vision_language.size.image_size
        with warnings.catch_warnings(), torch.no_grad():
            # Tracing warns of every branch on a shape; the shapes are those of every picture.
            warnings.simplefilter("ignore")
            graph = openvino.convert_model(
                ImagePrefix(vision_language).eval(),
                example_input=torch.zeros(1, side, side, dtype=torch.uint8),
                input=[1, side, side],
            )
        self._request = (
            openvino.Core()
            .compile_model(graph, "CPU", compile_options(threads, bfloat16=False))
            .create_infer_request()
        )
        self._lock = Lock()

    def __call__(self, vlm_pixels: Tensor) -> tuple[Tensor, ...]:
        """What `ImagePrefix.forward` gives; several threads may call, they wait for each other."""
        with self._lock:
            rows = [self._run(pixels) for pixels in vlm_pixels.numpy()]
        return tuple(torch.cat(parts) for parts in zip(*rows, strict=True))

    def _run(self, pixels: npt.NDArray[np.uint8]) -> list[Tensor]:
        # Outputs are copied, as the next call overwrites them.
        found = self._request.infer([pixels[np.newaxis]], share_inputs=True, share_outputs=False)
        return [torch.from_numpy(found[index]) for index in range(len(found))]
