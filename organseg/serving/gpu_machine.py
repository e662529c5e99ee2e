"""What this machine has for TensorRT engines: its GPUs, and the TensorRT that would load them."""

from __future__ import annotations

import ctypes
import importlib
import subprocess
from dataclasses import dataclass

from organseg.errors import EngineError

_LIBRARIES = ("libnvinfer.so.11", "libnvinfer.so.10", "libnvinfer.so")


@dataclass(frozen=True)
class Gpu:
    """One GPU."""

    name: str
    """As the driver calls it, "NVIDIA L4"."""
    compute_capability: str
    """ "8.9"."""


@dataclass(frozen=True)
class GpuMachine:
    """What an engine has to fit."""

    gpus: tuple[Gpu, ...]
    """All that the driver shows; empty where there is no driver."""
    tensorrt: str | None
    """TensorRT's version, "10.9.0"; None where there is none."""


def this_machine(nvidia_smi: str = "nvidia-smi") -> GpuMachine:
    """The GPUs and the TensorRT of this machine, as its driver and its libraries describe them.

    Raises `EngineError` where the driver answers something that cannot be understood.
    """
    return GpuMachine(gpus=_gpus(nvidia_smi), tensorrt=_tensorrt_version())


def _gpus(nvidia_smi: str) -> tuple[Gpu, ...]:
    command = [nvidia_smi, "--query-gpu=compute_cap,name", "--format=csv,noheader"]
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return ()
    gpus = []
    for line in run.stdout.strip().splitlines():
        capability, separator, name = (part.strip() for part in line.partition(","))
        if not separator or not capability.replace(".", "", 1).isdigit():
            raise EngineError(
                f"wanted `capability, name` of every GPU from nvidia-smi, got {line!r}: update the "
                "driver to one that knows --query-gpu=compute_cap"
            )
        gpus.append(Gpu(name=name, compute_capability=capability))
    return tuple(gpus)


def _tensorrt_version() -> str | None:
    """Of the Python package where it is, else of the library that Triton's image carries."""
    try:
        return release_of(importlib.import_module("tensorrt").__version__)
    except (ImportError, OSError):
        pass
    for name in _LIBRARIES:
        try:
            number = ctypes.CDLL(name).getInferLibVersion()
        except (OSError, AttributeError):
            continue
        # 101301 is 10.13.1.
        return f"{number // 10000}.{number // 100 % 100}.{number % 100}"
    return None


def release_of(version: str) -> str:
    """The three numbers that engines are bound to: "10.9.0" of "10.9.0.34"."""
    return ".".join(version.split(".")[:3])
