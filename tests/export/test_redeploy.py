"""Releases that differ in their deployment alone, and the cores that a real server keeps to."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.served_cost import processor_seconds
from constructed import constructed_checkpoint
from export.__main__ import main
from export.progress import Progress
from export.redeploy import read_configs, redeploy
from export.release import write_release
from organseg.contract import TINY, Platform
from organseg.contract.deployed_config import choices_in
from organseg.contract.deployment_file import Deployment, StageChoice
from organseg.errors import ContractError, ReleaseError, ServerStartError
from organseg.serving.embedded import EmbeddedServer, ServerOptions
from organseg.serving.manifest import MODELS_FOLDER, read_manifest, verify_release

STAGE = "extractors"
"""A graph stage: its engine starts threads of its own, and it is the quickest to load."""
OPTIONS = ServerOptions(grpc_port=0, http_port=0, metrics_port=0)


@pytest.fixture
def work(release: Path) -> Iterator[Path]:
    """A folder on the release's disk, where its files can be linked."""
    folder = release.parent / "redeployed"
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)


def test_a_redeployed_release_is_whole_and_says_how_it_differs(release: Path, work: Path) -> None:
    before = verify_release(release)
    redeploy(release, Deployment({STAGE: StageChoice(threads=2)}), work / "one")
    redeploy(work / "one", Deployment({STAGE: StageChoice(cores=(0, 1))}), work / "two")
    after = verify_release(work / "two")
    assert before.deployment == {}
    assert after.deployment == {STAGE: {"threads": 2, "cores": [0, 1]}}
    changed = {path for path in before.files if before.files[path] != after.files[path]}
    assert changed == {f"{MODELS_FOLDER}/{STAGE}/config.pbtxt"}
    assert after.parity == before.parity
    assert after.created == before.created
    assert choices_in(read_configs(work / "two"))[STAGE].cores == (0, 1)
    assert verify_release(release) == before


def test_large_files_are_shared_with_the_release(release: Path, work: Path) -> None:
    redeploy(release, Deployment({STAGE: StageChoice(threads=2)}), work / "one")
    graph = Path(MODELS_FOLDER, STAGE, "1", "model.onnx")
    assert (work / "one" / graph).stat().st_ino == (release / graph).stat().st_ino


def test_a_release_is_never_changed_in_place(release: Path) -> None:
    with pytest.raises(ReleaseError, match="is there: name another"):
        redeploy(release, Deployment(), release)


def test_a_deployment_that_does_not_fit_leaves_nothing(release: Path, work: Path) -> None:
    for deployment in (Deployment(platform="tensorrt"), Deployment({"brain": StageChoice()})):
        with pytest.raises(ContractError):
            redeploy(release, deployment, work / "one")
    assert not (work / "one").exists()


def test_a_manifest_without_a_deployment_is_refused_by_name(release: Path, work: Path) -> None:
    redeploy(release, Deployment(), work / "one")
    path = work / "one" / "manifest.json"
    document = json.loads(path.read_text())
    document["deployment"] = "mine"
    path.write_text(json.dumps(document))
    with pytest.raises(ReleaseError, match="'deployment' as dict"):
        read_manifest(work / "one")


@pytest.mark.parametrize(
    "deployment", [Deployment(platform="tensorrt"), Deployment({"brain": StageChoice(threads=1)})]
)
def test_an_export_refuses_a_deployment_that_does_not_fit_before_any_graph(
    deployment: Deployment, tmp_path: Path
) -> None:
    with pytest.raises(ContractError):
        write_release(
            constructed_checkpoint(),
            TINY,
            Platform.PYTHON,
            tmp_path / "out",
            replace=False,
            progress=Progress(quiet=True),
            deployment=deployment,
        )
    assert not (tmp_path / "out").exists()


def test_the_export_command_reads_its_deployment_file_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "deployment.json"
    path.write_text('{"schema": 1, "stages": {"gate": {"thread": 2}}}')
    assert main(["--out", str(tmp_path / "out"), "--deployment", str(path)]) == 1
    said = capsys.readouterr().err
    assert "among instances, threads, joins_requests, queue_delay_microseconds, cores" in said


@pytest.mark.server
def test_a_served_stage_keeps_all_of_its_threads_to_its_cores(release: Path, work: Path) -> None:
    core = max(os.sched_getaffinity(0))
    models = _one_stage(release, work, (core,))
    with EmbeddedServer(models, OPTIONS) as server:
        [stub] = [
            command.split(" ", 1)[0]
            for command in processor_seconds(server.process_group)
            if "stub" in command and f"/{STAGE}/" in command
        ]
        threads = [int(thread.name) for thread in Path("/proc", stub, "task").iterdir()]
        assert len(threads) > 1
        assert {frozenset(os.sched_getaffinity(thread)) for thread in threads} == {
            frozenset({core})
        }


@pytest.mark.server
def test_cores_that_the_machine_lacks_stop_the_start_with_a_reason(
    release: Path, work: Path
) -> None:
    models = _one_stage(release, work, (4095,))
    with (
        pytest.raises(ServerStartError, match="wanted the cores 4095, this process may use"),
        EmbeddedServer(models, OPTIONS),
    ):
        pass


def _one_stage(release: Path, work: Path, cores: tuple[int, ...]) -> Path:
    """A repository with one stage alone, kept to these cores."""
    redeploy(release, Deployment({STAGE: StageChoice(threads=1, cores=cores)}), work / "pinned")
    models = work / "models"
    shutil.copytree(work / "pinned" / MODELS_FOLDER / STAGE, models / STAGE)
    return models
