"""The deployment file: what one machine changes in the deployment table, read and written as JSON.

It is made by hand or by `python -m benchmarks tune`, and given to `python -m export --deployment`.
`docs/deployment-table.md` says what each knob does.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from organseg.errors import ContractError

SCHEMA_VERSION = 1
_FIELDS = ("schema", "preset", "platform", "about", "stages")
_MOST_INSTANCES, _MOST_THREADS, _MOST_CORES = 64, 1024, 4096
_LONGEST_DELAY_MICROSECONDS = 1_000_000


@dataclass(frozen=True)
class StageChoice:
    """What is chosen for one stage; what is None stays as the table has it."""

    instances: int | None = None
    """Copies of the stage that work side by side."""
    threads: int | None = None
    """Threads of one instance's engine."""
    joins_requests: bool | None = None
    """Whether Triton joins waiting requests into one batch."""
    queue_delay_microseconds: int | None = None
    """How long a request may wait for others to join its batch."""
    cores: tuple[int, ...] | None = None
    """The cores that the stage's processes keep to, as the system numbers them; empty for all."""

    def over(self, other: StageChoice) -> StageChoice:
        """Both together; where both chose, this one's."""
        return StageChoice(**{**other.chosen, **self.chosen})

    @property
    def chosen(self) -> dict[str, Any]:
        """What is chosen, by name."""
        return {name: value for name, value in asdict(self).items() if value is not None}


KNOBS = tuple(knob.name for knob in fields(StageChoice))
"""What a deployment file may say of a stage."""


@dataclass(frozen=True)
class Deployment:
    """What one machine changes in the deployment table."""

    stages: Mapping[str, StageChoice] = field(default_factory=dict)
    """The choices by stage; a stage that is not there is deployed as the table has it."""
    preset: str | None = None
    """The preset that it was made for; None for any."""
    platform: str | None = None
    """The platform that it was made for; None for any."""
    about: Mapping[str, Any] = field(default_factory=dict)
    """How it was made, for readers: plain JSON values."""

    def to_json(self) -> dict[str, Any]:
        """The document; `parse_deployment` reads it back."""
        named = {"preset": self.preset, "platform": self.platform, "about": dict(self.about)}
        return {
            "schema": SCHEMA_VERSION,
            **{name: value for name, value in named.items() if value},
            "stages": stages_document(self.stages),
        }


def stages_document(stages: Mapping[str, StageChoice]) -> dict[str, dict[str, Any]]:
    """The choices as plain JSON values, by stage."""
    return {
        name: {
            knob: list(value) if knob == "cores" else value
            for knob, value in stages[name].chosen.items()
        }
        for name in sorted(stages)
        if stages[name].chosen
    }


def read_deployment(path: Path) -> Deployment:
    """The deployment of a file; raises `ContractError` where it is unreadable or says another
    thing than a deployment file may.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ContractError(
            f"wanted a deployment file, {path.name!r} cannot be read as JSON "
            f"({type(error).__name__}): name a file as docs/deployment-table.md shows it"
        ) from None
    return parse_deployment(document)


def parse_deployment(document: object) -> Deployment:
    """The deployment of a document.

    Raises `ContractError` that names what is allowed: for an unknown field or knob, for a value
    of another type, and for one out of its bounds.
    """
    read = _object(document, "the deployment file")
    _require_known(read, _FIELDS, "fields of a deployment file")
    if read.get("schema") != SCHEMA_VERSION:
        raise ContractError(
            f"wanted a deployment file of schema {SCHEMA_VERSION}, got {_shown(read.get('schema'))}"
            f': write "schema": {SCHEMA_VERSION} at its top'
        )
    named: dict[str, str | None] = {}
    for name in ("preset", "platform"):
        value = read.get(name)
        if value is not None and not isinstance(value, str):
            raise ContractError(f"wanted {name} as a text, got {_shown(value)}: write its name")
        named[name] = value
    return Deployment(
        stages=parse_stages(read.get("stages", {})),
        preset=named["preset"],
        platform=named["platform"],
        about=_object(read.get("about", {}), "about"),
    )


def parse_stages(document: object) -> dict[str, StageChoice]:
    """The choices by stage that `stages_document` wrote; raises as `parse_deployment` does."""
    return {
        stage: _choice(stage, _object(knobs, f"the knobs of {stage[:40]}"))
        for stage, knobs in _object(document, "stages").items()
    }


def _choice(stage: str, knobs: Mapping[str, Any]) -> StageChoice:
    _require_known(knobs, KNOBS, f"knobs of {stage[:40]}")
    chosen: dict[str, Any] = {}
    bounds = {
        "instances": (1, _MOST_INSTANCES),
        "threads": (1, _MOST_THREADS),
        "queue_delay_microseconds": (0, _LONGEST_DELAY_MICROSECONDS),
    }
    for knob, value in knobs.items():
        what = f"{knob} of {stage[:40]}"
        if knob == "joins_requests":
            if not isinstance(value, bool):
                raise ContractError(
                    f"wanted {what} as true or false, got {_shown(value)}: write one of them"
                )
            chosen[knob] = value
        elif knob == "cores":
            chosen[knob] = _cores(what, value)
        else:
            chosen[knob] = _whole_number(what, value, *bounds[knob])
    return StageChoice(**chosen)


def _cores(what: str, value: object) -> tuple[int, ...]:
    if not isinstance(value, list):
        raise ContractError(
            f"wanted {what} as a list of numbers, got {_shown(value)}: write [0, 1], or [] for all"
        )
    cores = tuple(_whole_number(what, core, 0, _MOST_CORES - 1) for core in value)
    if len(set(cores)) < len(cores):
        raise ContractError(f"wanted {what} each once, got {_shown(value)}: name none twice")
    return tuple(sorted(cores))


def _whole_number(what: str, value: object, least: int, most: int) -> int:
    # For Python true and false are numbers too.
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise ContractError(
            f"wanted {what} as a whole number from {least} to {most}, got {_shown(value)}: "
            "change it, or leave it out"
        )
    return value


def _object(value: object, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ContractError(
            f"wanted {what} as a JSON object, got {_shown(value)}: see docs/deployment-table.md"
        )
    return value


def _require_known(given: Mapping[str, Any], allowed: tuple[str, ...], what: str) -> None:
    unknown = sorted(set(given) - set(allowed))
    if unknown:
        raise ContractError(
            f"wanted {what} among {', '.join(allowed)}, got {_shown(unknown[0])}: "
            "correct its name, or leave it out"
        )


def _shown(value: object) -> str:
    return repr(value)[:40]
