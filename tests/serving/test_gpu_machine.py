"""What the driver says of a machine's GPUs, by a stand-in for its command."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from organseg.errors import EngineError
from organseg.serving.gpu_machine import Gpu, release_of, this_machine


def nvidia_smi(tmp_path, script: str) -> str:
    path = tmp_path / "nvidia-smi"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def test_every_gpu_is_told_with_its_compute_capability(tmp_path):
    command = nvidia_smi(
        tmp_path,
        'test "$2" = "--format=csv,noheader" && '
        'printf "8.9, NVIDIA L4\\n9.0, NVIDIA H100 80GB HBM3\\n"',
    )
    found = this_machine(command).gpus
    assert found == (Gpu("NVIDIA L4", "8.9"), Gpu("NVIDIA H100 80GB HBM3", "9.0"))


def test_a_machine_without_gpus_has_none(tmp_path):
    assert this_machine(nvidia_smi(tmp_path, "true")).gpus == ()


def test_a_driver_that_cannot_answer_is_an_error_with_its_words(tmp_path):
    script = 'echo "Field compute_cap is not a valid field to query."; exit 2'
    with pytest.raises(
        EngineError, match=r"status 2 \(Field compute_cap is not.*update the driver"
    ):
        this_machine(nvidia_smi(tmp_path, script))


def test_the_library_that_triton_loads_counts_before_the_python_package(monkeypatch):
    def library(name):
        if name != "libnvinfer.so.10":
            raise OSError(name)
        return SimpleNamespace(getInferLibVersion=lambda: 101301)

    monkeypatch.setitem(sys.modules, "tensorrt", SimpleNamespace(__version__="11.4.0.106"))
    monkeypatch.setattr("ctypes.CDLL", library)
    assert this_machine("no such command").tensorrt == "10.13.1"


def test_without_a_library_the_python_package_counts(monkeypatch):
    def missing(name):
        raise OSError(name)

    monkeypatch.setattr("ctypes.CDLL", missing)
    monkeypatch.setitem(sys.modules, "tensorrt", SimpleNamespace(__version__="11.4.0.106"))
    assert this_machine("no such command").tensorrt == "11.4.0"
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    assert this_machine("no such command").tensorrt is None


def test_a_machine_without_a_driver_has_none(tmp_path):
    assert this_machine(str(tmp_path / "nowhere")).gpus == ()


@pytest.mark.parametrize("line", ["no comma here", "[N/A], NVIDIA Old"])
def test_an_answer_that_nobody_understands_is_an_error(tmp_path, line):
    with pytest.raises(EngineError, match="update the driver"):
        this_machine(nvidia_smi(tmp_path, f'echo "{line}"'))


def test_engines_are_bound_to_three_numbers_of_a_version():
    assert release_of("10.9.0.34") == "10.9.0"
    assert release_of("10.9.0") == "10.9.0"
