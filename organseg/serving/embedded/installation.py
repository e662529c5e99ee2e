"""The parts of Triton that the `nvidia-pytriton` wheel carries, found and put in order.

The wheel holds the server, its Python backend, one stub (the program that runs a Python model)
for each Python version, and shared libraries in a folder of their own. The server wants the
backend and the stub of the right version in one folder; that folder is made of links here.
Source: the wheel's own layout, version 0.7.0 (Triton 2.51).
"""

from __future__ import annotations

import importlib.util
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from organseg.errors import ServerStartError

_INSTALL = 'install the server with `pip install "organseg[serve]"`'
_STUB = "triton_python_backend_stub"


@dataclass(frozen=True)
class Installation:
    """Where the parts of one Triton are."""

    server: Path
    """The program `tritonserver`."""
    libraries: Path
    """The folder of shared libraries that server and stub link to."""
    python_backend: Path
    """The folder of the Python backend, without a stub."""
    stub: Path
    """The stub for the running Python version."""
    python_folder: Path
    """The folder that holds this environment's `python3`; first on PATH it names the packages."""
    libpython: Path | None
    """The running Python's own shared library, where it has one; else the system's is taken."""


def libpython_name() -> str:
    """The shared library of the running Python version that the stub links to."""
    return f"libpython{sys.version_info.major}.{sys.version_info.minor}.so.1.0"


def find_installation(package: Path | None = None) -> Installation:
    """The Triton of this Python environment.

    `package` is the folder of the `pytriton` package, found by import unless given. Raises
    `ServerStartError` where the wheel is not installed or lacks a part.
    """
    package = package or _find_package()
    root = package / "tritonserver"
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    installation = Installation(
        server=root / "bin" / "tritonserver",
        libraries=package.parent / "nvidia_pytriton.libs",
        python_backend=root / "backends" / "python",
        stub=root / "python_backend_stubs" / version / _STUB,
        python_folder=Path(sys.prefix, "bin"),
        libpython=_own_libpython(),
    )
    if installation.server.is_file() and not installation.stub.is_file():
        offered = sorted(path.name for path in (root / "python_backend_stubs").glob("3.*"))
        raise ServerStartError(
            f"wanted a Python that this Triton can run models with ({', '.join(offered)}), "
            f"got {version}: make the environment with one of these"
        )
    for part in (installation.server, installation.libraries, installation.python_backend):
        if not part.exists():
            raise ServerStartError(
                f"the installed nvidia-pytriton has no {part.name}: {_INSTALL} again"
            )
    if not (installation.python_folder / "python3").exists():
        raise ServerStartError(
            "wanted a `python3` in this Python environment, which models take their packages "
            "from, but there is none: make the environment anew with `python3 -m venv`"
        )
    return installation


def link_backends(installation: Installation, folder: Path) -> Path:
    """Makes the folder for `--backend-directory` out of links, below `folder`; gives its path."""
    backends = folder / "backends"
    python = backends / "python"
    python.mkdir(parents=True)
    for part in installation.python_backend.iterdir():
        # Byte code that the stub writes belongs into this folder, not into the wheel's.
        if part.name != "__pycache__" and part.name != _STUB:
            (python / part.name).symlink_to(part)
    (python / _STUB).symlink_to(installation.stub)
    return backends


def link_libraries(installation: Installation, folder: Path) -> tuple[Path, ...]:
    """The folders for LD_LIBRARY_PATH; the running Python's own library is linked below `folder`.

    Only that one file is linked: the folder it comes from may hold a whole distribution's
    libraries, which must not take the place of the wheel's.
    """
    if installation.libpython is None:
        return (installation.libraries,)
    own = folder / "libraries"
    own.mkdir()
    (own / libpython_name()).symlink_to(installation.libpython)
    return own, installation.libraries


def _find_package() -> Path:
    spec = importlib.util.find_spec("pytriton")
    if spec is None or not spec.submodule_search_locations:
        raise ServerStartError(
            f"wanted the Triton server of the package nvidia-pytriton, but it is not installed: "
            f"{_INSTALL}"
        )
    return Path(next(iter(spec.submodule_search_locations)))


def _own_libpython() -> Path | None:
    folder = sysconfig.get_config_var("LIBDIR")
    path = Path(folder or "/nowhere", libpython_name())
    return path if path.is_file() else None
