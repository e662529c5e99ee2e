"""The cores that a stage's process keeps to, as its config says it.

Stages read it, and protobuf is none of theirs.
"""

from __future__ import annotations

from collections.abc import Mapping

from organseg.errors import ContractError

CORES_PARAMETER = "cores"
"""The parameter of a Python stage's config that names the cores that its process keeps to."""


def cores_text(cores: tuple[int, ...]) -> str:
    """The cores as configs have them: "0,1"."""
    return ",".join(str(core) for core in cores)


def cores_in(parameters: Mapping[str, str]) -> tuple[int, ...]:
    """The cores that a config's parameters name; none for all. Raises `ContractError` for what is
    no list of numbers.
    """
    text = parameters.get(CORES_PARAMETER, "")
    parts = text.split(",") if text else []
    if not all(part.isascii() and part.isdigit() for part in parts):
        raise ContractError(
            f'wanted cores as numbers, "0,1", got {text[:40]!r}: export the release again'
        )
    return tuple(int(part) for part in parts)
