"""The stage `preprocess`: everything that can be wrong with a request is found here."""

from __future__ import annotations

import numpy as np

from organseg.contract import CONTRACT_PARAMETER, CONTRACT_VERSION, names
from organseg.errors import ContractError, InvalidInputError
from organseg.imaging.preprocess import prepare
from organseg.serving.stage import Arrays, RequestStage, StageRequest


class PreprocessStage(RequestStage):
    """Checks and prepares one image and one question."""

    name = "preprocess"

    def answer(self, request: StageRequest) -> Arrays:
        """Prepared pixels and question, before any heavy stage runs."""
        require_contract(request)
        for tensor in self.model.inputs:
            came = request.inputs.get(tensor.name)
            wanted = (1, *tensor.shape())
            if came is not None and came.shape != wanted:
                raise InvalidInputError(
                    f"wanted {tensor.name} of shape {list(wanted)}, got {list(came.shape)}: one "
                    "request is one image and one question; send several requests, the server "
                    "batches them"
                )
        window = request.inputs.get(names.WINDOW)
        prepared = prepare(
            request.inputs[names.IMAGE].item(),
            request.inputs[names.QUERY].item(),
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
        }


def require_contract(request: StageRequest) -> None:
    """Refuses a request that says it was made for another contract version.

    A client need not say; one that does is told here rather than by a wrong answer.
    """
    spoken = request.parameters.get(CONTRACT_PARAMETER)
    if spoken is not None and spoken != CONTRACT_VERSION:
        raise ContractError(
            f"wanted a request of contract version {CONTRACT_VERSION}, got one of "
            f"{str(spoken)[:40]!r}: install the client that belongs to this server"
        )
