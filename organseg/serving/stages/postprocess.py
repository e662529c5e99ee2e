"""The stage `postprocess`: the answer in the image's own frame."""

from __future__ import annotations

import numpy as np

from organseg.contract import names
from organseg.imaging.orientation import DisplayOrientation
from organseg.imaging.postprocess import assemble_answer
from organseg.serving.carried_failures import raise_carried
from organseg.serving.stage import Arrays, RequestStage, StageRequest


class PostprocessStage(RequestStage):
    """Masks at the original size."""

    name = "postprocess"

    def answer(self, request: StageRequest) -> Arrays:
        """The answer to one request; raises what a branch before has failed with."""
        inputs = request.inputs
        raise_carried(inputs)
        height, width = (int(side) for side in inputs[names.IMAGE_SIZE_HW][0])
        answer = assemble_answer(
            inputs[names.LOW_RES_MASKS][0],
            inputs[names.MASK_QUALITY][0],
            inputs[names.PROMPT_BOXES][0],
            inputs[names.ORGANS][0],
            inputs[names.VERDICTS][0],
            display_size_hw=(height, width),
            orientation=DisplayOrientation.from_array(inputs[names.IMAGE_ORIENTATION][0]),
        )
        verdicts = [verdict.value.encode() for verdict in answer.verdicts]
        return {
            names.ANSWER_MASKS: answer.masks[np.newaxis],
            names.ANSWER_ORGANS: answer.organs[np.newaxis],
            names.ANSWER_VERDICTS: np.array([verdicts], dtype=np.object_),
            names.ANSWER_BOXES: answer.boxes[np.newaxis],
            names.ANSWER_QUALITY: answer.quality[np.newaxis],
        }
