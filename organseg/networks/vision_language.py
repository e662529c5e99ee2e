"""LLaVA-Med behind one small class: image and question in, F_vl out, by one prefill.

`answer_state` is the last layer's state of the last prompt token, `patch_states` the last
layer's states of the image tokens (the paper's F_vl). No text is generated. The model is
transformers' `LlavaForConditionalGeneration`: a vision tower (`networks.vision_tower`), a
two-layer projector, a Mistral language model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import Cache, LlavaConfig, LlavaForConditionalGeneration, MistralConfig

from organseg.contract.presets import VisionLanguageSize
from organseg.errors import CheckpointError
from organseg.networks.prompt import PromptBuilder
from organseg.networks.vision_tower import feature_choice, tower_config

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
"""Channel means of CLIP's training images (Radford et al. 2021), for pixels in [0, 1]."""
CLIP_DEVIATION = (0.26862954, 0.26130258, 0.27577711)
"""Channel deviations of the same."""


class VisionLanguageStates(NamedTuple):
    """F_vl: the joint embedding of image and question."""

    answer_state: Tensor
    """float [B, D]: the last prompt token."""
    patch_states: Tensor
    """float [B, P, D]: the image tokens row by row; they do not depend on the question."""


class VisionLanguage(nn.Module):
    """LLaVA(-Med) with its prompt: the one way this project asks the language model."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, llava: nn.Module, prompts: PromptBuilder, size: VisionLanguageSize) -> None:
        """Wraps a loaded model; a LoRA-adapted one (`networks.lora`) works the same."""
        super().__init__()
        self.llava = llava
        self.prompts = prompts
        self.size = size
        for name, values in (("mean", CLIP_MEAN), ("deviation", CLIP_DEVIATION)):
            rows = torch.tensor(values, dtype=torch.float32).view(1, 3, 1, 1)
            self.register_buffer(name, rows, persistent=False)

    def forward(self, vlm_pixels: Tensor, questions: Sequence[str]) -> VisionLanguageStates:
        """Prefills a batch of prompts.

        The prompts are padded on the right. Under a causal mask no token sees what stands
        behind it, so a prompt's states are the same in any company.

        Args:
            vlm_pixels: uint8 [B, V, V] grey levels.
            questions: B questions.

        Returns:
            The states, in the language model's own type.
        """
        prompt = self.prompts.build(questions)
        device = vlm_pixels.device
        hidden = self._model()(
            input_ids=prompt.token_ids.to(device),
            pixel_values=self._normalise(vlm_pixels),
            use_cache=False,
        ).last_hidden_state
        rows = torch.arange(len(questions), device=device)
        first, last = prompt.image_start, prompt.image_start + self.size.patches
        return VisionLanguageStates(
            answer_state=hidden[rows, prompt.lengths.to(device) - 1],
            patch_states=hidden[:, first:last],
        )

    def continued(self, token_ids: Tensor, known: Cache, vlm_pixels: Tensor | None) -> Tensor:
        """The last layer's states of tokens that follow those already known.

        Args:
            token_ids: int64 [B, T], image tokens included.
            known: keys and values of what came before; those of these tokens are added.
            vlm_pixels: uint8 [B, V, V] grey levels where the images are among the tokens.

        Returns:
            float [B, T, D].
        """
        hidden: Tensor = self._model()(
            input_ids=token_ids,
            pixel_values=None if vlm_pixels is None else self._normalise(vlm_pixels),
            past_key_values=known,
            use_cache=True,
        ).last_hidden_state
        return hidden

    def tower_features(self, vlm_pixels: Tensor) -> Tensor:
        """What the vision tower sees, before the projector.

        Args:
            vlm_pixels: uint8 [B, V, V] grey levels.

        Returns:
            float [B, P, C], row by row.
        """
        choice = self._model().config
        seen = self.vision_tower(self._normalise(vlm_pixels), output_hidden_states=True)
        features: Tensor = seen.hidden_states[choice.vision_feature_layer]
        return features[:, 1:] if choice.vision_feature_select_strategy == "default" else features

    def image_features(self, vlm_pixels: Tensor) -> Tensor:
        """What the language model is given for an image: tower and projector alone.

        Args:
            vlm_pixels: uint8 [B, V, V] grey levels.

        Returns:
            float [B, P, D], the image tokens' embeddings.
        """
        features: Tensor = self._model().multi_modal_projector(self.tower_features(vlm_pixels))
        return features

    @property
    def vision_tower(self) -> Any:
        """The vision tower, a module of transformers."""
        return self._model().vision_tower

    @property
    def language_model(self) -> Any:
        """The language model without its head, adapter layers included."""
        return self._model().language_model

    @property
    def language_head(self) -> Any:
        """The layer that scores every token; it may share its weights with the embeddings."""
        return self._whole().lm_head

    def _model(self) -> Any:
        """The part without the language-model head, adapter layers included."""
        return self._whole().model

    def _whole(self) -> Any:
        base: Any = self.llava
        return base.get_base_model() if hasattr(base, "get_base_model") else base

    def _normalise(self, vlm_pixels: Tensor) -> Tensor:
        weights = next(self.llava.parameters())
        grey = vlm_pixels.unsqueeze(1).expand(-1, 3, -1, -1).float() / 255.0
        return ((grey - self.mean) / self.deviation).to(weights.dtype)


def llava_config(size: VisionLanguageSize, *, image_token_id: int) -> LlavaConfig:
    """The transformers configuration of a preset's sizes, in LLaVA v1.5's arrangement."""
    return LlavaConfig(
        vision_config=tower_config(size),
        text_config=MistralConfig(
            hidden_size=size.width,
            num_hidden_layers=size.depth,
            num_attention_heads=size.heads,
            num_key_value_heads=size.key_value_heads,
            intermediate_size=size.mlp,
            vocab_size=size.vocabulary,
            max_position_embeddings=max(size.max_tokens, 4096),
            sliding_window=None,
        ),
        image_token_index=image_token_id,
        image_seq_length=size.patches,
        projector_hidden_act="gelu",
        **feature_choice(size),
        tie_word_embeddings=size.tied_embeddings,
    )


def build_llava(size: VisionLanguageSize, *, image_token_id: int) -> LlavaForConditionalGeneration:
    """A model of these sizes with transformers' own random initialisation."""
    return LlavaForConditionalGeneration(llava_config(size, image_token_id=image_token_id))


def check_sizes(config: LlavaConfig, size: VisionLanguageSize) -> None:
    """Raises `CheckpointError` where a loaded configuration is not of the preset's sizes.

    The preset fixes what the tensor contract depends on; everything else is the checkpoint's.
    """
    vision: Any = config.vision_config
    text: Any = config.text_config
    wanted = {
        "image size": (size.image_size, vision.image_size),
        "patch size": (size.patch_size, vision.patch_size),
        "language width": (size.width, text.hidden_size),
    }
    wrong = [
        f"{name}: wanted {preset}, the checkpoint has {loaded}"
        for name, (preset, loaded) in wanted.items()
        if preset != loaded
    ]
    if config.projector_hidden_act != "gelu":
        wrong.append(f"projector: wanted mlp2x_gelu, got {config.projector_hidden_act!r}")
    if wrong:
        raise CheckpointError("; ".join(wrong) + ": choose the preset that fits the checkpoint")
