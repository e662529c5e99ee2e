"""The stage `llava_med`: LLaVA-Med with merged LoRA, which knows an image again by its key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from organseg.contract import names
from organseg.networks.checkpoint import VISION_LANGUAGE_FOLDER
from organseg.networks.known_images import KnownImage, answer_states, know_images
from organseg.serving.kept import Kept, KeptCounts
from organseg.serving.language_engines import load_language_engines
from organseg.serving.language_model import load_language_model
from organseg.serving.request_checks import session_lost
from organseg.serving.stage import Arrays, JoiningStage, StageContext, StageRequest

_NO_KEY = bytes(32)
"""What a warm-up comes with: no image has it, and nothing is kept under it."""


@dataclass(frozen=True)
class _Row:
    """One image and one question of a batch."""

    key: bytes
    question: str
    pixels: npt.NDArray[np.uint8] | None


class LlavaMedStage(JoiningStage):
    """F_vl for a batch of images and questions."""

    name = "llava_med"

    def __init__(self, context: StageContext) -> None:
        """Loads the merged model; raises what `load_language_model` does."""
        super().__init__(context)
        self._vision_language, self._device = load_language_model(
            context, context.folder / VISION_LANGUAGE_FOLDER
        )
        self._engines = load_language_engines(context, self._vision_language)
        self._kept: Kept[KnownImage] = Kept(context.kept_bytes)
        self._keeps = context.kept_bytes > 0

    def kept(self) -> KeptCounts | None:
        """How keeping went; none where nothing is kept."""
        return self._kept.counts() if self._keeps else None

    @torch.inference_mode()
    def run_joined(self, requests: Sequence[StageRequest]) -> list[Arrays]:
        """Answer and patch states in half precision, and whether the image is known now."""
        rows = [row for request in requests for row in _read(request)]
        in_two_parts = self._keeps or self._engines.prefix is not None
        outputs = self._images_then_questions(rows) if in_two_parts else self._at_once(rows)
        ends = np.cumsum([request.batch_size for request in requests])[:-1]
        parts = {name: np.split(array, ends) for name, array in outputs.items()}
        return [{name: parts[name][index] for name in parts} for index in range(len(requests))]

    def _at_once(self, rows: Sequence[_Row]) -> Arrays:
        """Image and question in one prefill: the cheapest where nothing is kept."""
        pixels = self._pixels([_pixels_of(row) for row in rows])
        states = self._vision_language(pixels, [row.question for row in rows])
        return self._outputs(states.answer_state, states.patch_states, [False] * len(rows))

    def _images_then_questions(self, rows: Sequence[_Row]) -> Arrays:
        """Each distinct image that is not known once, all together; then all questions."""
        # Before anything is computed: a request that fails must not cost its neighbours twice.
        self._vision_language.prompts.build_tails([row.question for row in rows])
        known: dict[bytes, KnownImage] = {}
        unknown: dict[bytes, npt.NDArray[np.uint8]] = {}
        for row in rows:
            found = known.get(row.key) or self._kept.get(row.key)
            if found:
                known[row.key] = found
            elif row.pixels is not None:
                unknown.setdefault(row.key, row.pixels)
        for row in rows:
            if row.key not in known and row.key not in unknown:
                raise session_lost()
        if unknown:
            pixels = self._pixels(list(unknown.values()))
            made = know_images(self._vision_language, pixels, self._engines.prefix)
            known.update(zip(unknown, made, strict=True))
        own = [key for key in unknown if key != _NO_KEY]
        named = sum(row.key != _NO_KEY for row in rows)
        self._kept.count(hits=named - len(own), misses=len(own))
        has_room = {key: self._kept.put(key, known[key]) for key in own}
        images = [known[row.key] for row in rows]
        return self._outputs(
            answer_states(
                self._vision_language,
                images,
                [row.question for row in rows],
                self._device,
                self._engines.tail,
            ),
            torch.stack([image.patch_states for image in images]),
            [has_room.get(row.key, row.key not in unknown) for row in rows],
        )

    def _pixels(self, pictures: Sequence[npt.NDArray[np.uint8]]) -> Tensor:
        return torch.from_numpy(np.stack(pictures)).to(self._device)

    def _outputs(self, answer: Tensor, patches: Tensor, kept: Sequence[bool]) -> Arrays:
        found = {names.ANSWER_STATE: answer, names.PATCH_STATES: patches}
        states = {
            name: state.float().cpu().numpy().astype(self.model.tensor(name).dtype.numpy)
            for name, state in found.items()
        }
        return {**states, names.PREFIX_KEPT: np.array(kept)[:, np.newaxis]}


def _read(request: StageRequest) -> list[_Row]:
    pixels = request.inputs.get(names.VLM_PIXELS)
    return [
        _Row(
            request.inputs[names.IMAGE_KEY][index].tobytes(),
            request.inputs[names.QUESTION][index, 0].decode(),
            None if pixels is None else pixels[index],
        )
        for index in range(request.batch_size)
    ]


def _pixels_of(row: _Row) -> npt.NDArray[np.uint8]:
    if row.pixels is None:
        raise session_lost()
    return row.pixels
