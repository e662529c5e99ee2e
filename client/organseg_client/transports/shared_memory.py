"""Large tensors through shared memory: which, in which regions, and when those are given back.

What works (Triton 2.51): images as BYTES, since their serialised length is known, and outputs of
a plain type whose largest size the request knows (`InferenceRequest.output_bytes`), since the
server refuses an answer that does not fit only after it has computed it. The server copies an
output straight into the region and says its true shape.

What it gains, by `python -m benchmarks shared-memory` (`tiny`, two cores that were busy with other
work, so the request's whole time hides it): the way of a request, without the server's own time,
falls from 2 ms to 1 for a slice of 512² as PNG, from 114 ms to 10 for 2048² in 16 bits (8 MB in,
4 MB of masks out), from 530 ms to 260 for 4096² in 16 bits (34 MB in, 17 MB out); 4096² as PNG,
with the same masks, showed no gain. Against the whole request, which took seconds there, no gain
was seen in that noise. A new region costs one more call. So a tensor goes through shared memory
only from the sizes of `Thresholds` on.

A server that still works on a request refuses to let go of its region, also where the caller has
given up. Such a region is never used again, or one request's answer could land in another's; it
is handed back later, at the latest when the transport closes.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from organseg.errors import (
    AuthenticationError,
    InvalidInputError,
    OrganSegError,
    ServerFaultError,
)
from organseg_client.deadline import Deadline
from organseg_client.options import SharedMemory
from organseg_client.transport import InferenceRequest, InferenceResponse
from organseg_client.transports import messages, programs
from organseg_client.transports.messages import Slot
from organseg_client.transports.programs import Pause, Program, Send
from organseg_client.transports.region import Region

__all__ = ["Regions", "Thresholds"]


@dataclass(frozen=True)
class Thresholds:
    """From which sizes on tensors go through shared memory."""

    input_bytes: int = 1 << 20
    """Bytes of an input."""
    output_bytes: int = 32 << 20
    """Bytes that an output has at most: masks of 13 organs of an image of about 1600²."""


_PROBE_BYTES = 4096
_ALIGNMENT = 64
_SIZE_STEP = 4 << 20
"""Regions are multiples of this, so that requests of nearly the same size share them."""
_MOST_IDLE_BYTES = 256 << 20
_ASK_WITHIN_S = 2.0
_REFUSALS = (AuthenticationError, ServerFaultError, InvalidInputError)
"""What a server answers that has no shared memory to give, now and later."""
_LOST = "shared memory region"
"""What every message of the server about a region says."""


class _Fate(Enum):
    """What has become of a region that was lent."""

    KEPT = "kept"
    """The server has it and is done with the request: it can be used again."""
    REFUSED = "refused"
    """The server never had it."""
    UNKNOWN = "unknown"
    """The server may have it, and may still be at work on it."""


@dataclass
class _Plan:
    """Where in one region the tensors of one request lie."""

    inputs: dict[str, bytes] = field(default_factory=dict)
    """The content of each input."""
    outputs: dict[str, int] = field(default_factory=dict)
    """The most bytes of each output."""

    @property
    def size(self) -> int:
        """Bytes of the region that it takes."""
        return sum(map(_aligned, [*map(len, self.inputs.values()), *self.outputs.values()]))

    def lay_out(self, region: Region) -> dict[str, Slot]:
        """A slot for each tensor, the inputs filled."""
        sizes = {name: len(content) for name, content in self.inputs.items()} | self.outputs
        slots, offset = {}, 0
        for name, size in sizes.items():
            slots[name] = Slot(region.name, offset, size, region.view(offset, size))
            offset += _aligned(size)
        for name, content in self.inputs.items():
            slots[name].memory[:] = content
        return slots


class Regions:
    """The regions that one transport shares with its server; several threads may use them.

    Raises `InvalidInputError` where shared memory is required of a server elsewhere.
    """

    def __init__(self, mode: SharedMemory, *, is_loopback: bool, thresholds: Thresholds) -> None:
        if mode is SharedMemory.REQUIRED and not is_loopback:
            raise InvalidInputError(
                "wanted a server on this machine for shared memory, got the address of another; "
                "use localhost, or SharedMemory.AUTO"
            )
        self._mode = mode
        self._thresholds = thresholds
        self._is_usable: bool | None = None if is_loopback else False
        self._lock = threading.Lock()
        self._idle: list[Region] = []
        self._lent: set[Region] = set()
        self._abandoned: list[Region] = []

    def infer(self, request: InferenceRequest) -> Program[InferenceResponse]:
        """Runs a model once, its large tensors through shared memory where that can be had."""
        plan = self._plan(request)
        if plan is None:
            return (yield from programs.infer(request, request.deadline_s))
        deadline = Deadline(request.deadline_s)
        for is_last in (False, True):
            region = yield from self._borrow(plan.size, deadline)
            if region is None:
                break
            try:
                return (yield from self._infer_in(region, plan, request, deadline))
            except OrganSegError as error:
                if _LOST not in str(error):
                    raise
                # A server that was started anew knows none of the regions any more.
                self._abandon_idle()
                if is_last and self._mode is SharedMemory.REQUIRED:
                    raise
        return (yield from programs.infer(request, deadline.remaining_s()))

    def has_any(self) -> bool:
        """Whether the server may hold a region."""
        with self._lock:
            return bool(self._idle or self._lent or self._abandoned)

    def release(self, patience_s: float) -> Program[None]:
        """Takes every region back; those that the server still works on within the patience.

        For the end: requests that are under way have been cancelled.
        """
        self._is_usable = False
        self._abandon_idle()
        pause_s = waited_s = 0.0
        while True:
            is_reachable = yield from self._take_back(_ASK_WITHIN_S)
            if not is_reachable or not self.has_any() or waited_s >= patience_s:
                return
            pause_s = min(0.5, max(0.01, 2 * pause_s))
            yield Pause(pause_s)
            waited_s += pause_s

    def _plan(self, request: InferenceRequest) -> _Plan | None:
        if self._mode is SharedMemory.OFF:
            return None
        if self._mode is SharedMemory.AUTO and self._is_usable is False:
            return None
        plan = _Plan()
        for name, array in request.inputs.items():
            if _length(array) >= self._thresholds.input_bytes:
                plan.inputs[name] = messages.content_of(array)
        for name in request.outputs:
            size = request.output_bytes.get(name, 0)
            if size >= self._thresholds.output_bytes:
                plan.outputs[name] = size
        return plan if plan.inputs or plan.outputs else None

    def _infer_in(
        self, region: Region, plan: _Plan, request: InferenceRequest, deadline: Deadline
    ) -> Program[InferenceResponse]:
        fate = _Fate.UNKNOWN
        slots: dict[str, Slot] = {}
        try:
            slots = plan.lay_out(region)
            deadline_s = deadline.remaining_s()
            message = messages.infer_message(request, deadline_s, slots)
            headers = tuple(request.metadata.items())
            answer = yield Send("ModelInfer", message, deadline_s, headers)
            response = messages.read_response(answer, slots)
            fate = _Fate.KEPT
        finally:
            # Also where the program is closed, because its caller was cancelled.
            for slot in slots.values():
                slot.memory.release()
            self._give_back(region, fate)
        return response

    def _borrow(self, size: int, deadline: Deadline) -> Program[Region | None]:
        """A region that the server has, for one request; None where it can have none."""
        yield from self._take_back(min(_ASK_WITHIN_S, deadline.remaining_s()))
        with self._lock:
            fitting = [region for region in self._idle if region.size >= size]
            if fitting:
                region = min(fitting, key=lambda one: one.size)
                self._idle.remove(region)
                self._lent.add(region)
                return region
        if not self._is_usable:
            probe = yield from self._register(_PROBE_BYTES, deadline)
            if probe is None:
                return None
            self._is_usable = True
            self._give_back(probe, _Fate.UNKNOWN)
            yield from self._take_back(min(_ASK_WITHIN_S, deadline.remaining_s()))
        return (yield from self._register(-(-size // _SIZE_STEP) * _SIZE_STEP, deadline))

    def _register(self, size: int, deadline: Deadline) -> Program[Region | None]:
        from tritonclient.grpc import service_pb2

        try:
            region = Region(size)
        except OSError as error:
            self._refuse(f"this machine says: {error.strerror}", error)
            return None
        with self._lock:
            self._lent.add(region)
        message = service_pb2.SystemSharedMemoryRegisterRequest(
            name=region.name, key=region.key, byte_size=size
        )
        # Where no answer came, the server may have it all the same.
        fate = _Fate.UNKNOWN
        try:
            yield Send("SystemSharedMemoryRegister", message, deadline.remaining_s())
            fate = _Fate.KEPT
        except OrganSegError as error:
            if isinstance(error, _REFUSALS):
                fate = _Fate.REFUSED
                self._is_usable = False
            self._refuse(f"the server did not take it: {error}", error)
        finally:
            # Both sides have it mapped, or never will: nothing is left behind by its name.
            region.hide()
            if fate is not _Fate.KEPT:
                self._give_back(region, fate)
        return region if fate is _Fate.KEPT else None

    def _refuse(self, words: str, error: Exception) -> None:
        """Raises where shared memory is required, an error of the same kind."""
        if self._mode is SharedMemory.REQUIRED:
            kind = type(error) if isinstance(error, OrganSegError) else ServerFaultError
            raise kind(
                f"wanted memory shared with the server, {words}; allow it there (its key goes "
                "into ApiKey), or use SharedMemory.AUTO, which does without"
            ) from error

    def _give_back(self, region: Region, fate: _Fate) -> None:
        with self._lock:
            self._lent.discard(region)
            idle_bytes = sum(one.size for one in self._idle)
            if (
                fate is _Fate.KEPT
                and self._is_usable
                and idle_bytes + region.size <= _MOST_IDLE_BYTES
            ):
                self._idle.append(region)
                return
            if fate is not _Fate.REFUSED:
                self._abandoned.append(region)
        region.close()

    def _abandon_idle(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
            self._abandoned += idle
        for region in idle:
            region.close()

    def _take_back(self, deadline_s: float) -> Program[bool]:
        """Asks the server once to let go of what is not used again; whether it could be asked."""
        from tritonclient.grpc import service_pb2

        with self._lock:
            abandoned = tuple(self._abandoned)
        for region in abandoned:
            message = service_pb2.SystemSharedMemoryUnregisterRequest(name=region.name)
            try:
                yield Send("SystemSharedMemoryUnregister", message, deadline_s)
            except (AuthenticationError, ServerFaultError):
                # In use: a request that nobody waits for any more is still at work.
                continue
            except OrganSegError:
                return False
            with self._lock:
                # Another thread may have asked as well.
                if region in self._abandoned:
                    self._abandoned.remove(region)
        return True


def _length(array: Any) -> int:
    """The bytes of a tensor's values."""
    if array.dtype.kind != "O":
        return int(array.nbytes)
    return sum(len(element) for element in array.flat)


def _aligned(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT
