"""The container's lists of versions: complete for what is installed, and right under numpy 2."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import stage_walk
from docker_context import REPO_ROOT
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from constructed import PICTURES

CONSTRAINTS = REPO_ROOT / "constraints"
QUESTION = "Outline the liver, please."


def _pins(name: str) -> dict[str, str]:
    lines = (CONSTRAINTS / name).read_text().splitlines()
    pins = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(package): version for package, version in pins}


def _wanted(*extras: str) -> list[Requirement]:
    # Python 3.10 has none; CI has 3.11.
    tomllib = pytest.importorskip("tomllib")
    project = tomllib.loads((REPO_ROOT / "pyproject.toml").read_text())["project"]
    lists = [project["dependencies"], *(project["optional-dependencies"][e] for e in extras)]
    found = [Requirement(text) for each in lists for text in each]
    return [requirement for requirement in found if requirement.name != "organseg"]


def test_the_servers_list_has_all_that_the_wheel_wants_there() -> None:
    pins = _pins("container.txt")
    wanted = _wanted("model", "volumes")
    assert len(wanted) > 8
    for requirement in wanted:
        version = pins[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), requirement


def test_the_exporters_list_adds_what_exporting_wants() -> None:
    pins = _pins("container.txt") | _pins("container-export.txt")
    for requirement in _wanted("model", "export"):
        version = pins[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), requirement


def test_what_the_embedded_environment_has_too_is_of_the_same_version_there() -> None:
    container = _pins("container.txt") | _pins("container-export.txt")
    embedded = _pins("embedded.txt")
    for requirement in _wanted("model", "volumes", "export"):
        name = canonicalize_name(requirement.name)
        if name != "numpy":
            assert container[name] == embedded[name], name


@pytest.fixture(scope="module")
def numpy_2(pytestconfig: pytest.Config) -> Path:
    """A folder with the container's numpy, kept from run to run."""
    version = _pins("container.txt")["numpy"]
    assert version.startswith("2.")
    cache = Path(pytestconfig.cache.mkdir("container-numpy"))
    place = cache / f"{version}-{sys.version_info.major}.{sys.version_info.minor}"
    if not place.is_dir():
        fresh = cache / f"{place.name}.{os.getpid()}"
        install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps"]
        subprocess.run(
            [*install, "--only-binary=:all:", "--target", str(fresh), f"numpy=={version}"],
            check=True,
        )
        fresh.rename(place)
    return place


@pytest.mark.slow
def test_the_stages_answer_alike_under_numpy_2(
    release: Path, numpy_2: Path, tmp_path: Path
) -> None:
    picture, out = tmp_path / "picture", tmp_path / "out.npz"
    picture.write_bytes(PICTURES[0])
    folders = (numpy_2, REPO_ROOT, REPO_ROOT / "client", REPO_ROOT / "tests")
    subprocess.run(
        [sys.executable, stage_walk.__file__, release, picture, QUESTION, out],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, folders))},
        check=True,
    )
    wanted = stage_walk.walk(release, PICTURES[0], QUESTION)
    with np.load(out) as got:
        assert str(got["numpy"]) == numpy_2.name.rpartition("-")[0]
        assert re.match(r"1\.", np.__version__)
        assert set(got.files) == set(wanted) - {"IMAGE"} | {"numpy"}
        assert wanted["MASKS"].any()
        for name, value in wanted.items():
            if name == "IMAGE":
                continue
            assert got[name].shape == value.shape, name
            if value.dtype == object:
                assert got[name].tolist() == value.astype("S").tolist(), name
            elif value.dtype.kind in "biu":
                np.testing.assert_array_equal(got[name], value, err_msg=name)
            else:
                # The numbers come from torch and ONNX Runtime, which numpy has no part in; half
                # precision between stages leaves a last bit.
                np.testing.assert_allclose(got[name], value, rtol=2e-3, atol=2e-3, err_msg=name)
