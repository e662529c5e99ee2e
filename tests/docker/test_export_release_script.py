"""The exporter image's entry point: when it exports, and what it leaves alone.

`python -m export` has its own tests; here a stand-in notes its arguments and puts a ready release
in its place.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from entry_points import run_entry, write_program

from export.__main__ import main


class Exporter:
    """An image with a stand-in for the export, and its volume."""

    def __init__(self, folder: Path, programs: Path, small_release: Path) -> None:
        self.release = folder / "releases" / "tiny-tensorrt-fp32"
        self.release.parent.mkdir()
        self.checkpoint = folder / "checkpoint"
        self.checkpoint.mkdir()
        self.work = folder / "work"
        for part in ("export", "model_repository"):
            (self.work / part).mkdir(parents=True)
        (self.work / "export" / "weights").write_text("the repository's")
        self.log = folder / "exports"
        self.log.touch()
        place, ready, log = map(shlex.quote, map(str, (self.release, small_release, self.log)))
        write_program(
            programs / "python3",
            f'[ "$2" = export ] || exec {shlex.quote(sys.executable)} "$@"\n'
            f'echo "$@" >> {log}\n[ -z "${{FAIL:-}}" ] || exit 1\n'
            f"rm -rf {place} && cp -r {ready} {place}",
        )

    def run(self, environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs the entry point in the image."""
        own = {"ORGANSEG_RELEASE": str(self.release), "ORGANSEG_CHECKPOINT": str(self.checkpoint)}
        return run_entry("export_release.sh", own | environment, *arguments, cwd=self.work)

    @property
    def exports(self) -> list[str]:
        """The command line of every export."""
        return self.log.read_text().splitlines()


@pytest.fixture
def exporter(tmp_path: Path, programs: Path, small_release: Path) -> Exporter:
    return Exporter(tmp_path, programs, small_release)


def test_a_missing_release_is_exported_and_checked(
    exporter: Exporter, image_environment: dict[str, str]
) -> None:
    run = exporter.run(image_environment)
    assert run.returncode == 0, run.stderr
    assert exporter.exports == [
        f"-m export --out {exporter.release} --preset tiny --platform tensorrt --precision fp32 "
        f"--timing-cache {exporter.release}.timing"
    ]
    assert "1 files are as they were made" in run.stdout


def test_a_fitting_release_is_kept(exporter: Exporter, image_environment: dict[str, str]) -> None:
    assert exporter.run(image_environment).returncode == 0
    again = exporter.run(image_environment)
    assert again.returncode == 0
    assert len(exporter.exports) == 1
    assert "kept" in again.stdout


@pytest.mark.parametrize("change", ["option", "checkpoint", "weights", "damage"])
def test_a_release_of_something_else_or_a_damaged_one_is_made_anew(
    exporter: Exporter, image_environment: dict[str, str], change: str
) -> None:
    assert exporter.run(image_environment).returncode == 0
    if change == "option":
        image_environment["ORGANSEG_PRECISION"] = "bf16"
    elif change == "checkpoint":
        (exporter.checkpoint / "organ_seg.json").write_text("{}")
    elif change == "weights":
        (exporter.work / "export" / "weights").write_text("others")
    else:
        (exporter.release / "models" / "gate" / "1" / "model.py").write_text("import that\n")
    assert exporter.run(image_environment).returncode == 0
    assert len(exporter.exports) == 2
    assert "--replace" in exporter.exports[1]
    assert ("--checkpoint" in exporter.exports[1]) == (change == "checkpoint")


def test_a_release_that_was_cut_short_is_made_anew(
    exporter: Exporter, image_environment: dict[str, str]
) -> None:
    assert exporter.run(image_environment).returncode == 0
    changed = image_environment | {"ORGANSEG_PRECISION": "bf16"}
    assert exporter.run(changed | {"FAIL": "1"}).returncode == 1
    # The old release lies there still, and is whole; it is not what was asked for.
    assert exporter.run(changed).returncode == 0
    assert len(exporter.exports) == 3


def test_a_release_that_it_did_not_make_is_never_touched(
    exporter: Exporter, image_environment: dict[str, str], small_release: Path
) -> None:
    shutil.copytree(small_release, exporter.release)
    assert exporter.run(image_environment).returncode == 0
    (exporter.release / "models" / "gate" / "1" / "model.py").write_text("import that\n")
    refused = exporter.run(image_environment)
    assert refused.returncode == 1
    assert "changed: models/gate" in refused.stderr
    assert exporter.exports == []


def test_a_failed_export_fails_the_container(
    exporter: Exporter, image_environment: dict[str, str]
) -> None:
    assert exporter.run(image_environment | {"FAIL": "1"}).returncode == 1


def test_arguments_are_the_exports_own(
    exporter: Exporter, image_environment: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    environment = image_environment | {"ORGANSEG_PLATFORM": "onnxruntime"}
    assert exporter.run(environment, "--accept-below-bar").returncode == 0
    (line,) = exporter.exports
    assert "--timing-cache" not in line
    with pytest.raises(SystemExit):
        main([*line.split()[2:], "--help"])
    shown = capsys.readouterr().out
    for word in line.split()[2:]:
        assert not word.startswith("--") or word in shown, word
