"""The trials of a sweep on disk, so that one that was stopped goes on where it was."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.record import RecordError, write_record
from benchmarks.tuning.moves import Stages
from benchmarks.tuning.search import Compare
from benchmarks.tuning.trial import Trial
from organseg.contract.deployment_file import stages_document


class Journal:
    """The record of a sweep, which grows by one trial at a time.

    Raises `RecordError` where the file cannot be read, or is that of another sweep: of another
    release, machine, load or rule.
    """

    def __init__(self, path: Path, identity: Mapping[str, Any], about: Mapping[str, Any]) -> None:
        self._path = path
        self._document: dict[str, Any] = {**about, "identity": dict(identity), "trials": []}
        if path.exists():
            self._document = _read(path, identity)

    @property
    def count(self) -> int:
        """Trials that are there."""
        return len(self._document["trials"])

    def remembering(self, compare: Compare) -> Compare:
        """The same measurement, which is not made again where the journal has it."""

        def remembered(standing: Stages, challenger: Stages, label: str) -> Trial:
            sides = [stages_document(standing), stages_document(challenger)]
            for entry in self._document["trials"]:
                if (entry["sides"], entry["label"]) == (sides, label):
                    return Trial.from_json(entry)
            trial = compare(standing, challenger, label)
            self._document["trials"].append({"sides": sides, **trial.to_json()})
            self._write()
            return trial

        return remembered

    def conclude(self, **found: Any) -> None:
        """Adds what was found in the end, as plain values."""
        self._document.update(found)
        self._write()

    def _write(self) -> None:
        # Beside it first: a stop in between leaves the trials of before.
        beside = self._path.with_name(f".{self._path.name}.new")
        write_record(beside, self._document)
        os.replace(beside, self._path)


def _read(path: Path, identity: Mapping[str, Any]) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        trials, before = list(document["trials"]), dict(document["identity"])
        if not all(
            isinstance(entry["sides"], list) and isinstance(entry["label"], str) for entry in trials
        ):
            raise TypeError
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RecordError(
            f"wanted the record of a sweep in {path.name!r}, it cannot be read "
            f"({type(error).__name__}): name another --json, or delete the file"
        ) from None
    # Through JSON, as the other has gone: there a tuple is a list.
    now = json.loads(json.dumps(dict(identity)))
    other = sorted(name for name in {*before, *now} if before.get(name) != now.get(name))
    if other:
        raise RecordError(
            f"wanted to go on with the sweep in {path.name!r}, it had another {', '.join(other)}: "
            "name another --json, or delete the file"
        )
    return dict(document)
