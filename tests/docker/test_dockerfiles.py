"""The Dockerfiles: pinned, not root, and made of what is there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from docker_context import (
    DOCKERFILES,
    REPO_ROOT,
    command_of,
    copied_from_context,
    last_value,
    stages_of,
)

FINAL = [
    ("cpu.Dockerfile", "server"),
    ("server.Dockerfile", "server"),
    ("server.Dockerfile", "exporter"),
]
PINNED = re.compile(r"[a-z.]+(/[a-z]+)*:\d+\.\d+[\w.-]*")


def _stages(name: str):
    return stages_of(REPO_ROOT / "docker" / name)[1]


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.name)
def test_every_base_is_an_earlier_stage_or_an_image_with_a_version(dockerfile: Path) -> None:
    _, stages = stages_of(dockerfile)
    earlier: set[str] = set()
    for stage in stages.values():
        assert stage.base in earlier or PINNED.fullmatch(stage.base), stage.base
        earlier.add(stage.name)


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.name)
def test_hadolint_has_no_complaint(dockerfile: Path) -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    checked = subprocess.run([hadolint, dockerfile], capture_output=True, text=True)
    assert (checked.returncode, checked.stdout) == (0, "")


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.name)
def test_every_install_is_held_by_a_list_of_versions(dockerfile: Path) -> None:
    _, stages = stages_of(dockerfile)
    runs = [run for stage in stages.values() for run in stage.values("RUN")]
    installs = [run for run in runs if re.search(r"pip .*install", run)]
    assert installs
    for run in installs:
        assert re.search(r"(-c|-r) constraints/[a-z-]+\.txt|--no-deps +/wheels", run), run


def test_both_gpu_images_are_of_one_tag_and_engines_of_its_tensorrt() -> None:
    arguments, stages = stages_of(REPO_ROOT / "docker" / "server.Dockerfile")
    tritons = [stage for stage in stages.values() if "tritonserver" in stage.base]
    assert [stage.name for stage in tritons] == ["environment"]
    assert tritons[0].base == f"nvcr.io/nvidia/tritonserver:{arguments['TRITON_TAG']}"
    assert {stages["server"].base, stages["exporter"].base} == {"environment"}
    assert not any("tensorrt" in run and "==" in run for run in stages["exporter"].values("RUN"))


def test_the_wheel_is_built_the_same_way_for_all_images() -> None:
    wheels = [_stages(dockerfile.name)["wheel"] for dockerfile in DOCKERFILES]
    assert len(wheels) == 2
    assert wheels[0] == wheels[1]


@pytest.mark.parametrize(("name", "target"), FINAL)
def test_an_image_runs_as_a_user_with_a_number_that_is_not_roots(name: str, target: str) -> None:
    assert last_value(_stages(name), target, "USER") == "1000:1000"


@pytest.mark.parametrize(("name", "target"), FINAL)
def test_an_image_writes_to_tmp_alone_and_asks_no_hub(name: str, target: str) -> None:
    stages = _stages(name)
    environment = {**stages["environment"].environment, **stages[target].environment}
    wanted = {"HOME": "/tmp", "TMPDIR": "/tmp", "PYTHONDONTWRITEBYTECODE": "1"}
    assert wanted.items() <= environment.items()
    assert environment["HF_HUB_OFFLINE"] == "1"
    assert environment["PATH"].startswith("/opt/organseg/bin:")


@pytest.mark.parametrize(("name", "target"), FINAL)
def test_an_entry_point_is_a_copied_script_and_stops_on_sigterm(name: str, target: str) -> None:
    stages = _stages(name)
    (entry,) = stages[target].values("ENTRYPOINT")
    (script,) = command_of(entry)
    copied = {f"/opt/organseg/entry/{Path(s).name}" for s in copied_from_context(stages[target])}
    assert script in copied
    if "serve" in script:
        # It is sourced from beside it.
        assert "/opt/organseg/entry/admin_key.sh" in copied
    assert stages[target].values("STOPSIGNAL") == ["SIGTERM"]


@pytest.mark.parametrize(("name", "target"), FINAL[:2])
def test_a_server_is_healthy_when_it_answers_a_question(name: str, target: str) -> None:
    (check,) = _stages(name)[target].values("HEALTHCHECK")
    command = command_of(check)
    assert command[:2] == ["organseg", "health"]
    docker_s = int(re.search(r"--timeout=(\d+)s", check)[1])
    assert float(command[command.index("--timeout") + 1]) < docker_s
