"""What this machine has for TensorRT engines: its GPUs, and the TensorRT that would load them."""

from __future__ import annotations

import ctypes
import importlib
import subprocess
from collections.abc import Iterable
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


def listed(gpus: Iterable[Gpu]) -> str:
    """The GPUs for a message, "NVIDIA L4 (8.9)"; "none" where there are none."""
    return ", ".join(f"{gpu.name} ({gpu.compute_capability})" for gpu in gpus) or "none"


@dataclass(frozen=True)
class GpuMachine:
    """What an engine has to fit."""

    gpus: tuple[Gpu, ...]
    """All that the driver shows; empty where there is no driver."""
    tensorrt: str | None
    """TensorRT's version, "10.9.0"; None where there is none."""


def this_machine(nvidia_smi: str = "nvidia-smi") -> GpuMachine:
    """The GPUs and the TensorRT of this machine, as its driver and its libraries describe them.

    Raises `EngineError` where there is a driver and it gives no answer that can be understood.
    """
    return GpuMachine(gpus=_gpus(nvidia_smi), tensorrt=_tensorrt_version())


def _gpus(nvidia_smi: str) -> tuple[Gpu, ...]:
    command = [nvidia_smi, "--query-gpu=compute_cap,name", "--format=csv,noheader"]
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except OSError:
        return ()
    except subprocess.TimeoutExpired:
        raise EngineError(
            "wanted nvidia-smi to list GPUs, no answer in a minute: look at the driver"
        ) from None
    if run.returncode:
        said = " ".join((run.stdout + run.stderr).split())
        raise EngineError(
            f"wanted nvidia-smi to list the GPUs, got exit status {run.returncode} ({said}): "
            "update the driver to one that knows --query-gpu=compute_cap, or give the container "
            "its GPUs"
        )
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
    """Of the library that Triton loads, which its image carries, else of the Python package."""
    for name in _LIBRARIES:
        try:
            number = ctypes.CDLL(name).getInferLibVersion()
        except (OSError, AttributeError):
            continue
        # 101301 is 10.13.1.
        return f"{number // 10000}.{number // 100 % 100}.{number % 100}"
    try:
        return release_of(importlib.import_module("tensorrt").__version__)
    except (ImportError, OSError):
        return None


def release_of(version: str) -> str:
    """The three numbers that engines are bound to: "10.9.0" of "10.9.0.34"."""
    return ".".join(version.split(".")[:3])
