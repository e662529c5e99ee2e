"""Where the benchmark runs: the CPU for tests, or the first GPU. All calls into CUDA are here."""

from __future__ import annotations

import gc
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, TypeVar

import torch

from benchmarks.gpu.chips import Chip, chip_of
from export.precision import Precision
from organseg.errors import EngineError
from organseg.serving.gpu_machine import GpuMachine, this_machine

Result = TypeVar("Result")
_CAPTURE_WARM_UP = 3


class Device(ABC):
    """What differs between a CPU and a GPU when something is timed."""

    name: str
    """As torch names it."""
    language_dtype: torch.dtype
    """What the language model's weights and products are in, as in the stage `llava_med`."""
    half: Precision
    """What graph stages work in unless told otherwise."""
    chip: Chip | None
    """What its floors are reckoned from; None where its rates are not known."""

    @abstractmethod
    def synchronise(self) -> None:
        """Returns once all work that was handed to the device is done."""

    @abstractmethod
    def side_by_side(
        self, first: Callable[[], Result], second: Callable[[], Result]
    ) -> tuple[Result, Result]:
        """Hands over two pieces of work that may overlap; what follows waits for both."""

    @abstractmethod
    def compiled(self, work: Callable[..., Result]) -> Callable[..., Result]:
        """The work behind `torch.compile`, for inputs of one shape."""

    @abstractmethod
    def captured(self, work: Callable[[], Result]) -> Callable[[], Result]:
        """The work as one CUDA graph: the same kernels on the same memory, launched at once.

        The result is the same tensors every time, overwritten. Raises `EngineError` on a CPU.
        """

    @abstractmethod
    def on_own_stream(self, launch: Callable[[int], None]) -> None:
        """Launches on a stream that is not the default, given by its address, in order.

        It begins after all that was handed over before, and what follows waits for it.
        """

    @abstractmethod
    def reset_peak_memory(self) -> None:
        """Begins to watch the most memory in use."""

    @abstractmethod
    def peak_memory_bytes(self) -> int | None:
        """The most that torch had in use since; None where torch does not count it."""

    @abstractmethod
    def used_memory_bytes(self) -> int | None:
        """What all processes have in use now, as the driver says; None without a driver."""

    @abstractmethod
    def free_memory_bytes(self) -> int | None:
        """What is left of the device's memory; None where it is not limited by a device."""

    @abstractmethod
    def release_memory(self) -> None:
        """Gives back what nobody uses any more, compiled code included."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """What the record says of it, as plain values."""

    def time_ms(self, work: Callable[[], object]) -> float:
        """Wall clock of one call, from an idle device to an idle device, milliseconds.

        The host's clock, since engines launch on streams of their own that events on torch's
        would miss; what the host does is part of a latency too.
        """
        self.synchronise()
        started = time.perf_counter()
        work()
        self.synchronise()
        return (time.perf_counter() - started) * 1e3


class CpuDevice(Device):
    """The CPU: the same way through the benchmark, for tests and for its own sake."""

    name = "cpu"
    language_dtype = torch.float32
    # ONNX Runtime computes in float32 there.
    half = Precision.FP32
    chip = None

    def synchronise(self) -> None:
        """Nothing to wait for."""

    def side_by_side(
        self, first: Callable[[], Result], second: Callable[[], Result]
    ) -> tuple[Result, Result]:
        """One after the other."""
        return first(), second()

    def compiled(self, work: Callable[..., Result]) -> Callable[..., Result]:
        """Traced in one piece as on a GPU, but run by torch's own kernels: a check, no speed."""
        return torch.compile(work, backend="aot_eager", fullgraph=True, dynamic=False)

    def captured(self, work: Callable[[], Result]) -> Callable[[], Result]:
        """Not on a CPU."""
        raise EngineError("wanted a GPU for a CUDA graph, got the CPU: give --device cuda")

    def on_own_stream(self, launch: Callable[[int], None]) -> None:
        """There are no streams: at once."""
        launch(0)

    def reset_peak_memory(self) -> None:
        """Nothing is counted."""

    def peak_memory_bytes(self) -> int | None:
        """Not counted."""
        return None

    def used_memory_bytes(self) -> int | None:
        """No driver to ask."""
        return None

    def free_memory_bytes(self) -> int | None:
        """Not limited by a device."""
        return None

    def release_memory(self) -> None:
        """Forgets compiled code."""
        gc.collect()
        torch.compiler.reset()

    def describe(self) -> dict[str, Any]:
        """Its name, its threads, and what `torch.compile` did here."""
        return {
            "kind": self.name,
            "threads": torch.get_num_threads(),
            "torch.compile": "traced, not compiled",
        }


class CudaDevice(Device):
    """The first GPU that CUDA shows."""

    name = "cuda:0"
    language_dtype = torch.bfloat16

    def __init__(self) -> None:
        """Looks for the GPU; raises `EngineError` where torch cannot use one."""
        if not torch.cuda.is_available():
            build = torch.version.cuda
            raise EngineError(
                "wanted a GPU that torch can use, got "
                + (f"none (torch is built for CUDA {build})" if build else "a CPU build of torch")
                + ": run `make bench-gpu` on a machine with an NVIDIA driver, or give --device cpu"
            )
        self._properties: Any = torch.cuda.get_device_properties(0)
        self.chip = chip_of(self._properties.name)
        bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
        self.half = Precision.BF16 if bf16 else Precision.FP16
        torch.cuda.set_device(0)
        self._streams = (_stream(), _stream())
        # float32 is float32 in every engine: TensorRT's and ONNX Runtime's TF32 are off too.
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False

    def synchronise(self) -> None:
        """Waits for all streams."""
        torch.cuda.synchronize()

    def side_by_side(
        self, first: Callable[[], Result], second: Callable[[], Result]
    ) -> tuple[Result, Result]:
        """On a stream each."""
        caller = torch.cuda.current_stream()
        results = []
        for work, stream in zip((first, second), self._streams, strict=True):
            stream.wait_stream(caller)
            with torch.cuda.stream(stream):
                results.append(work())
        for stream in self._streams:
            caller.wait_stream(stream)
        return results[0], results[1]

    def compiled(self, work: Callable[..., Result]) -> Callable[..., Result]:
        """By Inductor, its kernels replayed as CUDA graphs."""
        return torch.compile(work, mode="reduce-overhead", fullgraph=True, dynamic=False)

    def captured(self, work: Callable[[], Result]) -> Callable[[], Result]:
        """Captured on a stream of its own, after a few calls that set libraries up."""
        stream = _stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(_CAPTURE_WARM_UP):
                work()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            result = work()

        def replay() -> Result:
            graph.replay()
            return result

        return replay

    def on_own_stream(self, launch: Callable[[int], None]) -> None:
        """On the first of the two streams."""
        caller, (stream, _) = torch.cuda.current_stream(), self._streams
        stream.wait_stream(caller)
        launch(stream.cuda_stream)
        caller.wait_stream(stream)

    def reset_peak_memory(self) -> None:
        """Of torch's allocator."""
        torch.cuda.reset_peak_memory_stats()

    def peak_memory_bytes(self) -> int | None:
        """Of torch's allocator: other engines' memory is not in it."""
        return int(torch.cuda.max_memory_allocated())

    def used_memory_bytes(self) -> int | None:
        """By the driver: every library's and process's memory is in it."""
        free, total = torch.cuda.mem_get_info()
        return int(total - free)

    def free_memory_bytes(self) -> int | None:
        """By the driver."""
        return int(torch.cuda.mem_get_info()[0])

    def release_memory(self) -> None:
        """Of torch's allocator, for other libraries and processes; forgets compiled code."""
        gc.collect()
        torch.compiler.reset()
        torch.cuda.empty_cache()

    def describe(self) -> dict[str, Any]:
        """The GPU, its memory, and the libraries that drive it."""
        try:
            machine = this_machine()
        except EngineError:
            # A container may have CUDA and an nvidia-smi that tells nothing.
            machine = GpuMachine(gpus=(), tensorrt=None)
        return {
            "kind": "cuda",
            "gpu": self._properties.name,
            "compute_capability": f"{self._properties.major}.{self._properties.minor}",
            "memory_bytes": int(self._properties.total_memory),
            "gpus": [gpu.name for gpu in machine.gpus],
            "cuda": torch.version.cuda,
            "cudnn": _cudnn_version(),
            "tensorrt": machine.tensorrt,
        }


def _stream() -> torch.cuda.Stream:
    made: torch.cuda.Stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    return made


def _cudnn_version() -> int | None:
    found: int | None = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]
    return found


DEVICES: dict[str, type[Device]] = {"cuda": CudaDevice, "cpu": CpuDevice}
"""What `--device` may name."""


def device_named(name: str) -> Device:
    """The device of a name in `DEVICES`; raises `EngineError` where it is not there."""
    return DEVICES[name]()
