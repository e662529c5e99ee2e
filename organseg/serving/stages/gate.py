"""The stage `gate`: I_out, with the thresholds of the release's context cache."""

from __future__ import annotations

import numpy as np

from organseg.contract import names
from organseg.networks.context_cache import FILE_NAME, load_context_cache
from organseg.networks.gate import decide
from organseg.serving.stage import Arrays, RequestStage, StageContext, StageRequest


class GateStage(RequestStage):
    """Which organs were asked for, and which are there."""

    name = "gate"

    def __init__(self, context: StageContext) -> None:
        """Reads the thresholds."""
        super().__init__(context)
        self._thresholds = load_context_cache(context.folder / FILE_NAME).thresholds

    def answer(self, request: StageRequest) -> Arrays:
        """The decision on one request, padded."""
        inputs = request.inputs
        decision = decide(
            inputs[names.SIMILARITY][0],
            inputs[names.PRESENCE][0],
            inputs[names.BOXES][0],
            image_is_blank=bool(inputs[names.IMAGE_IS_BLANK].item()),
            thresholds=self._thresholds,
        )
        return {
            names.PROMPT_BOXES: decision.prompt_boxes[np.newaxis],
            names.ORGANS: decision.organs[np.newaxis],
            names.VERDICTS: decision.verdicts[np.newaxis],
            names.ORGAN_PRESENCE: decision.organ_presence[np.newaxis],
        }
