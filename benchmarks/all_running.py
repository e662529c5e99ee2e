"""Runs parts one after another, keeps what an earlier run measured, goes on past failures."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from benchmarks.all_parts import Part
from benchmarks.load.plan import WorkloadSpec
from benchmarks.record import describe_commit, write_record
from benchmarks.workload import REPO_ROOT, read_image
from organseg.serving.manifest import MANIFEST_NAME

LOGS = "logs"
"""The folder beside the records that holds what the parts printed."""

_STATE = "parts.json"
_PATIENCE_S = 60.0
_LAST_LINE = 160

Say = Callable[[str], None]
"""Prints as it is, at once."""


class Outcome(Enum):
    """What became of a part."""

    DONE = "done"
    """Measured now."""
    KEPT = "kept"
    """Measured by an earlier run."""
    FAULTY = "faulty"
    """Measured now, with requests that failed: the report shows them; the next run tries again."""
    FAILED = "failed"
    """No record was written; one that is there is of other code or another release."""


@dataclass(frozen=True)
class Result:
    """One part's end."""

    part: Part
    """Which one."""
    outcome: Outcome
    """How it ended."""
    record: Path
    """Its record."""


@dataclass(frozen=True)
class Run:
    """What all parts share."""

    release: Path | None
    """The release that is measured; None for a server named by address."""
    preset: str
    """Its preset."""
    folder: Path
    """Where the records are written."""
    url: str | None = None
    """`HOST:PORT` of that server; None for a release."""
    inputs: WorkloadSpec = field(default_factory=WorkloadSpec)
    """Images, questions and seed, which every part is given."""
    is_quick: bool = False
    """Whether the parts are to show that they work rather than to measure well."""
    is_again: bool = False
    """Whether what an earlier run measured is measured anew."""
    program: tuple[str, ...] = (sys.executable, "-m", "benchmarks")
    """What the parts' commands are subcommands of."""

    def command(self, part: Part) -> tuple[str, ...]:
        """The whole command of a part."""
        form = part.quick if self.is_quick else (*part.full, *part.more.get(self.preset, ()))
        server = ("--release", self.release) if self.release else ("--url", self.url)
        return (
            *self.program,
            part.command,
            *map(str, server),
            *part.arguments,
            *form,
            *_input_arguments(self.inputs),
            *("--json", str(self.record(part))),
        )

    def record(self, part: Part) -> Path:
        """Where a part's record lies."""
        return self.folder / f"{part.name}.json"

    def seconds(self, part: Part) -> float:
        """About how long a part takes; that of the slowest preset where this one is not known."""
        if self.is_quick:
            return part.quick_seconds
        return part.seconds.get(self.preset, max(part.seconds.values()))


def run_parts(run: Run, parts: Sequence[Part], say: Say) -> Iterator[Result]:
    """Runs the parts in their order, one line of progress for each.

    A part whose record an earlier run made with the same command and images from the same commit
    and the same release is kept, unless `run.is_again`. Nothing is kept of code with uncommitted
    changes, nor of a server named by address, since what it serves may have changed. A part that
    fails is told with the last line that it printed, and the next one begins.

    Raises `ImageError` where an image of `run.inputs` cannot be read.
    """
    if run.release is not None and _is_modified(describe_commit(REPO_ROOT)):
        say("The code has uncommitted changes: nothing of an earlier run is kept.\n")
    for place, part in enumerate(parts):
        left = sum(run.seconds(one) for one in parts[place:])
        say(
            f"[{place + 1}/{len(parts)}] {part.name}: {part.what}; about "
            f"{_minutes(run.seconds(part))}, {_minutes(left)} left: "
        )
        result, said = _run_part(run, part)
        say(f"{said}\n")
        yield result


def _run_part(run: Run, part: Part) -> tuple[Result, str]:
    record = run.record(part)
    mark = _mark(run, part)
    states = _read_states(run)
    is_known = mark is not None and states.get(part.name) == mark
    if is_known and not run.is_again and record.is_file():
        return Result(part, Outcome.KEPT, record), "kept from before (--again measures it anew)"
    _write_states(run, {name: state for name, state in states.items() if name != part.name})
    before = record.stat().st_mtime_ns if record.is_file() else None
    log = run.folder / LOGS / f"{part.name}.log"
    started = time.monotonic()
    status = _run_command(run.command(part), log)
    taken = _minutes(time.monotonic() - started)
    is_written = record.is_file() and record.stat().st_mtime_ns != before
    if not is_written:
        return (
            Result(part, Outcome.FAILED, record),
            f"FAILED with status {status} after {taken}: {_last_line(log)}",
        )
    if status != 0:
        return (
            Result(part, Outcome.FAULTY, record),
            f"done in {taken} WITH FAILURES: {_last_line(log)}",
        )
    if mark is not None:
        _write_states(run, {**_read_states(run), part.name: mark})
    return Result(part, Outcome.DONE, record), f"done in {taken}"


def _run_command(command: Sequence[str], log: Path) -> int:
    log.parent.mkdir(parents=True, exist_ok=True)
    with (
        log.open("w", encoding="utf-8") as stream,
        subprocess.Popen(command, stdout=stream, stderr=subprocess.STDOUT, cwd=REPO_ROOT) as child,
    ):
        try:
            return child.wait()
        except BaseException as error:
            # It stops its servers before it ends. Of Ctrl-C the terminal has told it too.
            if not isinstance(error, KeyboardInterrupt):
                child.terminate()
            try:
                child.wait(_PATIENCE_S)
            except subprocess.TimeoutExpired:
                child.kill()
            raise


def _input_arguments(inputs: WorkloadSpec) -> tuple[str, ...]:
    return (
        *(("--images", *inputs.images) if inputs.images else ()),
        *(("--questions", *inputs.texts) if inputs.texts else ()),
        *(("--seed", str(inputs.seed)) if inputs.seed != WorkloadSpec.seed else ()),
    )


def _mark(run: Run, part: Part) -> dict[str, Any] | None:
    """What must be the same for a record to be kept; None where none is kept."""
    commit = describe_commit(REPO_ROOT)
    if run.release is None or _is_modified(commit):
        return None
    return {
        "commit": commit and commit["id"],
        "release": _digest((run.release / MANIFEST_NAME).read_bytes()),
        # A digest, since questions and names of files may tell of patients.
        "command": _digest(json.dumps(run.command(part)[len(run.program) :]).encode()),
        "images": [_digest(read_image(Path(image))) for image in run.inputs.images],
    }


def _is_modified(commit: dict[str, Any] | None) -> bool:
    return commit is not None and bool(commit["modified"])


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _read_states(run: Run) -> dict[str, Any]:
    try:
        states = json.loads((run.folder / LOGS / _STATE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return states if isinstance(states, dict) else {}


def _write_states(run: Run, states: dict[str, Any]) -> None:
    write_record(run.folder / LOGS / _STATE, states)


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").replace("\r", "\n").splitlines()
    told = [line.strip() for line in lines if line.strip()]
    return f"{told[-1][:_LAST_LINE] if told else 'it said nothing'} ({LOGS}/{log.name})"


def _minutes(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min"
