"""The stage `postprocess`: the answer in the image's own frame."""

from __future__ import annotations

import numpy as np

from organseg.imaging.orientation import DisplayOrientation
from organseg.imaging.postprocess import assemble_answer
from organseg.serving.stage import Arrays, RequestStage, StageRequest


class PostprocessStage(RequestStage):
    """Masks at the original size."""

    name = "postprocess"

    def answer(self, request: StageRequest) -> Arrays:
        """The answer to one request."""
        inputs = request.inputs
        height, width = (int(side) for side in inputs["image_size_hw"][0])
        answer = assemble_answer(
            inputs["low_res_masks"][0],
            inputs["mask_quality"][0],
            inputs["prompt_boxes"][0],
            inputs["organs"][0],
            inputs["verdicts"][0],
            display_size_hw=(height, width),
            orientation=DisplayOrientation.from_array(inputs["image_orientation"][0]),
        )
        verdicts = [verdict.value.encode() for verdict in answer.verdicts]
        return {
            "MASKS": answer.masks[np.newaxis],
            "ORGANS": answer.organs[np.newaxis],
            "VERDICTS": np.array([verdicts], dtype=np.object_),
            "BOXES": answer.boxes[np.newaxis],
            "QUALITY": answer.quality[np.newaxis],
        }
