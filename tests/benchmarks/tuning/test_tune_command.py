"""`python -m benchmarks tune` on a real release: it measures, writes, and goes on where it was."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from benchmarks.__main__ import main
from benchmarks.load.window import Window
from benchmarks.tuning import contest
from benchmarks.tuning.command import add_command
from benchmarks.tuning.search import CONFIRMATION
from export.redeploy import redeploy
from organseg.contract.deployment_file import read_deployment
from organseg.serving.manifest import write_manifest

LABEL = "branches pinned, each to its cores"


@dataclass(frozen=True)
class Sweep:
    """A sweep over one knob, with a margin that nothing reaches."""

    arguments: list[str]
    out: Path
    record: Path

    @property
    def document(self) -> Any:
        return json.loads(self.record.read_text())


@pytest.fixture(scope="module")
def sweep(release: Path, serving_again: object, tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    """The sweep once it has run; of its two servers one is the session's."""
    out = tmp_path_factory.mktemp("tune") / "deployment.json"
    load = "--users 2 --seconds 2 --answers 12 --knobs cores --margin 900"
    arguments = f"tune --release {release} --out {out} {load}".split()
    found = Sweep(arguments, out, out.with_suffix(".record.json"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(contest, "serving", serving_again)
        assert main(found.arguments) == 0
    return found


@pytest.mark.server
def test_a_change_is_measured_by_turns_with_the_release(sweep: Sweep) -> None:
    [trial] = sweep.document["trials"]
    assert trial["label"] == LABEL
    assert not trial["failure"]
    assert len(trial["standing_per_second"]) == len(trial["challenger_per_second"]) == 2
    assert min(trial["standing_per_second"] + trial["challenger_per_second"]) > 0
    pinned = trial["more"]["challenger"]["stages"]
    assert pinned["image_encoder"]["cores"] != pinned["llava_med"]["cores"]
    for side in ("standing", "challenger"):
        assert trial["more"][side]["threads_of_a_request"] == 2
        for document in trial["more"][side]["windows"]:
            contention = document.pop("contention")
            window = Window.from_json(document)
            assert window.users == 2
            assert not window.errors
            assert 0 < contention["running"] <= contention["runnable"]


@pytest.mark.server
def test_where_nothing_gains_the_file_changes_nothing(sweep: Sweep) -> None:
    deployment = read_deployment(sweep.out)
    assert deployment.stages == {}
    assert deployment.preset == "tiny"
    assert sweep.document["chosen"] == {}
    assert sweep.document["run"]["machine"]["cores"] > 0


@pytest.mark.server
def test_no_server_and_no_folder_is_left(sweep: Sweep, release: Path) -> None:
    places = f".{release.name}-tune-"
    assert not list(release.parent.glob(f"{places}*"))
    assert not any(places in command for command in commands_of_all_processes())


def commands_of_all_processes() -> Iterator[str]:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        # Others may end meanwhile.
        with suppress(OSError):
            yield path.read_bytes().decode(errors="replace")


@pytest.mark.server
def test_a_sweep_goes_on_with_what_it_has_and_writes_what_gained(
    sweep: Sweep, release: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its one trial, as if the change had made the server twenty times as fast."""
    document = sweep.document
    [trial] = document["trials"]
    faster = {
        **trial,
        "challenger_per_second": [20 * value for value in trial["standing_per_second"]],
        "standing_alone_ms": [100.0, 100.0],
        "challenger_alone_ms": [105.0, 105.0],
    }
    document["trials"] = [faster, {**faster, "label": CONFIRMATION}]
    sweep.record.write_text(json.dumps(document))
    assert main(sweep.arguments) == 0
    said = capsys.readouterr()
    assert "going on after 2 trials" in said.err
    assert f"| {LABEL} | 20.00 × | 1.05 × |" in said.out
    deployment = read_deployment(sweep.out)
    assert deployment.stages["image_encoder"].cores
    assert deployment.about["kept"] == [LABEL]
    assert deployment.about["gain"] == 20.0
    manifest = redeploy(release, deployment, tmp_path / "tuned")
    assert set(manifest.deployment) == set(deployment.stages)


@pytest.mark.server
def test_another_load_does_not_go_on_with_the_same_record(
    sweep: Sweep, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sweep.record.read_text()
    assert main([*sweep.arguments, "--users", "3"]) == 1
    assert "it had another load: name another --json" in capsys.readouterr().err
    assert sweep.record.read_text() == before


def test_a_release_for_a_gpu_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "models" / "gate").mkdir(parents=True)
    common = {"preset": "tiny", "contract_version": "1", "trained": True, "tools": {}}
    write_manifest(tmp_path, platform="tensorrt", **common)  # type: ignore[arg-type]
    out = str(tmp_path / "deployment.json")
    assert main(["tune", "--release", str(tmp_path), "--out", out]) == 1
    assert "wanted a release for the embedded server" in capsys.readouterr().err


@pytest.mark.parametrize("value", ["0", "-3", "nan", "x"])
def test_a_margin_that_is_none_is_refused(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["tune", "--release", "r", "--out", "o", f"--margin={value}"])
    assert f"got {value!r}" in capsys.readouterr().err


def test_the_help_says_what_to_do_with_the_file() -> None:
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers()
    add_command(commands)
    assert "--deployment deployment.json" in commands.choices["tune"].format_help()
