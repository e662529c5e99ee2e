"""The stage `preprocess`: everything that can be wrong with a request is found here."""

from __future__ import annotations

import numpy as np

from organseg.contract import names
from organseg.imaging.preprocess import prepare
from organseg.serving.request_checks import require_contract, require_shapes
from organseg.serving.stage import Arrays, RequestStage, StageRequest


class PreprocessStage(RequestStage):
    """Checks and prepares one image and, where one came, its question."""

    name = "preprocess"

    def answer(self, request: StageRequest) -> Arrays:
        """Prepared pixels and question, before any heavy stage runs."""
        require_contract(request)
        require_shapes(self.model, request)
        window = request.inputs.get(names.WINDOW)
        query = request.inputs.get(names.QUERY)
        prepared = prepare(
            request.inputs[names.IMAGE].item(),
            None if query is None else query.item(),
            None if window is None else (float(window[0, 0]), float(window[0, 1])),
            self.context.preset,
        )
        return {
            names.SAM_PIXELS: prepared.sam_pixels[np.newaxis],
            names.VLM_PIXELS: prepared.vlm_pixels[np.newaxis],
            names.QUESTION: np.array([[prepared.question.encode()]], dtype=np.object_),
            names.IMAGE_SIZE_HW: prepared.image_size_hw[np.newaxis],
            names.IMAGE_ORIENTATION: prepared.image_orientation[np.newaxis],
            names.IMAGE_IS_BLANK: prepared.image_is_blank[np.newaxis],
            names.IMAGE_KEY: prepared.image_key[np.newaxis],
        }
