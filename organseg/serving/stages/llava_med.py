"""The stage `llava_med`: LLaVA-Med with merged LoRA, one prefill for a batch of requests."""

from __future__ import annotations

import numpy as np
import torch

from organseg.contract import names
from organseg.networks.checkpoint import VISION_LANGUAGE_FOLDER
from organseg.serving.language_model import load_language_model
from organseg.serving.stage import Arrays, BatchStage, StageContext


class LlavaMedStage(BatchStage):
    """F_vl for a batch of images and questions."""

    name = "llava_med"

    def __init__(self, context: StageContext) -> None:
        """Loads the merged model; raises what `load_language_model` does."""
        super().__init__(context)
        self._vision_language, self._device = load_language_model(
            context, context.folder / VISION_LANGUAGE_FOLDER
        )

    @torch.inference_mode()
    def infer(self, inputs: Arrays) -> Arrays:
        """Answer and patch states in half precision."""
        pixels = torch.from_numpy(np.ascontiguousarray(inputs[names.VLM_PIXELS]))
        questions = [entry.decode() for entry in inputs[names.QUESTION][:, 0]]
        states = self._vision_language(pixels.to(self._device), questions)
        found = {names.ANSWER_STATE: states.answer_state, names.PATCH_STATES: states.patch_states}
        return {
            name: state.float().cpu().numpy().astype(self.model.tensor(name).dtype.numpy)
            for name, state in found.items()
        }
