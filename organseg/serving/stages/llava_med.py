"""The stage `llava_med`: LLaVA-Med with merged LoRA, one prefill for a batch of requests."""

from __future__ import annotations

import numpy as np
import torch

from organseg.contract import LanguageModel, Placement, default_weights, names
from organseg.networks.checkpoint import VISION_LANGUAGE_FOLDER, load_vision_language
from organseg.networks.placement import place_on_one, plan, spread, visible_gpus
from organseg.networks.quantisation import working_type
from organseg.serving.stage import Arrays, BatchStage, StageContext


class LlavaMedStage(BatchStage):
    """F_vl for a batch of images and questions."""

    name = "llava_med"

    def __init__(self, context: StageContext) -> None:
        """Loads the merged model as the config says: its weights' type, and where it goes.

        Where the config says nothing: float32 on a CPU, bfloat16 on a GPU, one of them.

        Raises:
            CheckpointError: the model's files do not fit.
            EngineError: bitsandbytes is wanted and missing, or the GPUs cannot hold the model.
        """
        super().__init__(context)
        torch.set_num_threads(context.threads)
        chosen = context.language_model or LanguageModel(
            default_weights(on_gpu=context.device != "cpu")
        )
        model = load_vision_language(
            context.folder / VISION_LANGUAGE_FOLDER,
            context.preset.vision_language,
            dtype=working_type(chosen.weights),
        )
        if chosen.placement is Placement.SPREAD:
            device_map = plan(model, chosen.weights, visible_gpus())
            self._device = spread(model, chosen.weights, device_map)
        else:
            self._device = place_on_one(model, chosen.weights, context.device)
        self._vision_language = model

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
