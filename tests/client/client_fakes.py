"""A server that is none: answers by the contract whatever the client's transport is given."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from organseg.contract import (
    CONTRACT_PARAMETER,
    CONTRACT_VERSION,
    TINY,
    Tensor,
    Verdict,
    ensemble_tensors,
)
from organseg.imaging.decoding import decode_image
from organseg_client import InferenceRequest, InferenceResponse, ModelConfig

RECEIVED: dict[str, Tensor] = {tensor.name: tensor for tensor in ensemble_tensors(TINY)[1]}

GALLBLADDER = ((9, Verdict.SEGMENTED),)
BOTH_KIDNEYS = ((2, Verdict.SEGMENTED), (13, Verdict.SEGMENTED))
SPLEEN_ABSENT = ((3, Verdict.ABSENT_IN_IMAGE),)
LIVER_BUT_NO_SPLEEN = ((1, Verdict.SEGMENTED), (3, Verdict.ABSENT_IN_IMAGE))
OUT_OF_SCOPE = ((14, Verdict.OUT_OF_SCOPE),)

Entries = tuple[tuple[int, Verdict], ...]


def boxes_of(entries: Entries, size_hw: tuple[int, int]) -> np.ndarray:
    """One box an entry, side by side in the upper half; zeros unless segmented."""
    height, width = size_hw
    boxes = np.zeros((len(entries), 4), dtype=np.float32)
    step = width // len(entries)
    for index, (_, verdict) in enumerate(entries):
        if verdict is Verdict.SEGMENTED:
            boxes[index] = [index * step, 1, index * step + step - 1, height // 2]
    return boxes


def outputs_of(entries: Entries, size_hw: tuple[int, int]) -> dict[str, np.ndarray]:
    """A whole response that fits the contract: each mask fills its box."""
    boxes = boxes_of(entries, size_hw)
    masks = np.zeros((len(entries), *size_hw), dtype=bool)
    for mask, (left, top, right, bottom) in zip(masks, boxes.astype(int), strict=True):
        mask[top:bottom, left:right] = True
    arrays = {
        "MASKS": masks,
        "ORGANS": np.array([organ_id for organ_id, _ in entries], dtype=np.int32),
        "VERDICTS": np.array([verdict.value.encode() for _, verdict in entries], dtype=object),
        "BOXES": boxes,
        "QUALITY": masks.any(axis=(1, 2)).astype(np.float32) * np.float32(0.75),
        "SIMILARITY": np.linspace(-0.5, 0.8, 14, dtype=np.float32),
        "PRESENCE": np.linspace(0, 1, 13, dtype=np.float32),
    }
    for name, array in arrays.items():
        assert array.dtype == RECEIVED[name].dtype.numpy, name
    return {name: array[None] for name, array in arrays.items()}


@dataclass
class FakeTransport:
    """A `Transport` that keeps what it was sent and answers with `entries`, image by image."""

    entries: Entries = GALLBLADDER
    ready: bool = True
    parameters: dict[str, str] = field(
        default_factory=lambda: {CONTRACT_PARAMETER: CONTRACT_VERSION, "preset": "tiny"}
    )
    failure: BaseException | None = None
    changed_outputs: dict[str, Any] = field(default_factory=dict)
    requests: list[InferenceRequest] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    deadlines_s: list[float] = field(default_factory=list)

    def infer(self, request: InferenceRequest) -> InferenceResponse:
        self.calls.append("infer")
        self.deadlines_s.append(request.deadline_s)
        self.requests.append(request)
        if self.failure is not None:
            raise self.failure
        window = request.inputs.get("WINDOW")
        decoded = decode_image(
            request.inputs["IMAGE"][0, 0],
            None if window is None else (float(window[0, 0]), float(window[0, 1])),
        )
        stored_size_hw = decoded.orientation.invert(decoded.pixels).shape
        outputs = {**outputs_of(self.entries, stored_size_hw), **self.changed_outputs}
        return InferenceResponse(
            outputs={name: array for name, array in outputs.items() if array is not None},
            request_id=request.request_id,
        )

    def model_config(self, model_name: str, deadline_s: float) -> ModelConfig:
        self.calls.append(f"model_config {model_name}")
        self.deadlines_s.append(deadline_s)
        return ModelConfig(name=model_name, parameters=self.parameters)

    def is_ready(self, model_name: str, deadline_s: float) -> bool:
        self.calls.append(f"is_ready {model_name}")
        self.deadlines_s.append(deadline_s)
        return self.ready

    def close(self) -> None:
        self.calls.append("close")
