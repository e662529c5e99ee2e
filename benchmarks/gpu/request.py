"""One whole request in process: encoded image and question in, masks out, on one device.

The flow is that of `OrganSeg.answer`, step by step; image encoder and language model run side by
side, and the gate looks at a few numbers on the host, as it does in the server.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.gpu.device import Device
from benchmarks.gpu.engines import TorchStage
from benchmarks.gpu.follow_up import FollowUp
from export.precision import Precision
from organseg.imaging.orientation import DisplayOrientation
from organseg.imaging.postprocess import Answer, assemble_answer
from organseg.imaging.preprocess import PreparedRequest, prepare
from organseg.networks.gate import Thresholds, decide
from organseg.networks.organ_seg import OrganSeg
from organseg.networks.stages import graph_modules


@dataclass(frozen=True)
class _Read:
    """What is kept of an image between questions about it."""

    prepared: PreparedRequest
    image_embeddings: Tensor
    patch_states: Tensor


class Flow:
    """The whole flow with torch's own kernels."""

    def __init__(
        self, organ_seg: OrganSeg, device: Device, precision: Precision, thresholds: Thresholds
    ) -> None:
        """Takes the models, which are on the device already; the precision is a release's."""
        self._organ_seg, self._device, self._thresholds = organ_seg, device, thresholds
        self._stages = {
            name: TorchStage(device, module, precision.of_stage(name))
            for name, module in graph_modules(organ_seg).items()
        }
        self._follow_up: FollowUp | None = None
        self._read: _Read | None = None

    @torch.no_grad()
    def answer(self, image: bytes, question: str) -> Answer:
        """Answers about a new image; raises as `organseg.imaging.preprocess.prepare` does."""
        prepared = prepare(image, question.encode(), None, self._organ_seg.preset)
        sam_pixels, vlm_pixels = self._pixels(prepared)
        language = self._organ_seg.vision_language
        (embeddings,), states = self._device.side_by_side(
            lambda: self._stages["image_encoder"](sam_pixels),
            lambda: tuple(language(vlm_pixels, [prepared.question])),
        )
        return self._finish(prepared, embeddings, *states)

    @torch.no_grad()
    def read(self, image: bytes, question: str) -> None:
        """Reads an image for further questions; this first one is checked and not answered."""
        prepared = prepare(image, question.encode(), None, self._organ_seg.preset)
        sam_pixels, vlm_pixels = self._pixels(prepared)
        if self._follow_up is None:
            self._follow_up = FollowUp(self._organ_seg.vision_language)
        (embeddings,) = self._stages["image_encoder"](sam_pixels)
        self._read = _Read(prepared, embeddings, self._follow_up.read_image(vlm_pixels))

    @torch.no_grad()
    def answer_again(self, question: str) -> Answer:
        """Answers another question about the image that was read."""
        if self._follow_up is None or self._read is None:
            raise RuntimeError("wanted an image to be read before another question about it")
        answer_state = self._follow_up.ask(*self._follow_up.tokens_of([question]))
        kept = self._read
        return self._finish(kept.prepared, kept.image_embeddings, answer_state, kept.patch_states)

    def _pixels(self, prepared: PreparedRequest) -> tuple[Tensor, Tensor]:
        device = self._device.name
        sam, vlm = (
            torch.from_numpy(pixels).unsqueeze(0).to(device)
            for pixels in (prepared.sam_pixels, prepared.vlm_pixels)
        )
        return sam, vlm

    def _finish(
        self,
        prepared: PreparedRequest,
        image_embeddings: Tensor,
        answer_state: Tensor,
        patch_states: Tensor,
    ) -> Answer:
        # States travel in half precision, as between the server's stages.
        found = self._stages["extractors"](answer_state.half(), patch_states.half())
        similarity, presence, boxes = (values[0].cpu().numpy() for values in found)
        decision = decide(
            similarity,
            presence,
            boxes,
            image_is_blank=bool(prepared.image_is_blank[0]),
            thresholds=self._thresholds,
        )
        prompt_boxes = torch.from_numpy(decision.prompt_boxes).unsqueeze(0).to(self._device.name)
        masks, quality = self._stages["mask_decoder"](image_embeddings, prompt_boxes)
        height, width = (int(side) for side in prepared.image_size_hw)
        return assemble_answer(
            masks[0].float().cpu().numpy(),
            quality[0].cpu().numpy(),
            decision.prompt_boxes,
            decision.organs,
            decision.verdicts,
            display_size_hw=(height, width),
            orientation=DisplayOrientation.from_array(prepared.image_orientation),
        )
