"""The Dockerfiles as stages of instructions, and what `.dockerignore` lets through."""

from __future__ import annotations

import io
import json
import re
import subprocess
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from dockerfile_parse import DockerfileParser

REPO_ROOT = Path(__file__).resolve().parents[2]
DOCKER = REPO_ROOT / "docker"
DOCKERFILES = sorted(DOCKER.glob("*.Dockerfile"))


@dataclass
class Stage:
    """One stage of a Dockerfile."""

    base: str
    name: str
    instructions: list[tuple[str, str]] = field(default_factory=list)

    def values(self, instruction: str) -> list[str]:
        return [value for name, value in self.instructions if name == instruction]

    @property
    def environment(self) -> dict[str, str]:
        text = " ".join(self.values("ENV"))
        return dict(re.findall(r"(\w+)=(\S+)", text))


def stages_of(dockerfile: Path) -> tuple[dict[str, str], dict[str, Stage]]:
    """The arguments before the first stage with their defaults, and the stages by name."""
    parser = DockerfileParser(fileobj=io.BytesIO(dockerfile.read_bytes()))
    arguments: dict[str, str] = {}
    stages: dict[str, Stage] = {}
    stage: Stage | None = None
    for entry in parser.structure:
        name, value = entry["instruction"], entry["value"]
        if name == "COMMENT":
            continue
        if name == "FROM":
            base, _, called = value.partition(" AS ")
            for argument, default in arguments.items():
                base = base.replace(f"${{{argument}}}", default)
            stage = stages[called] = Stage(base, called)
        elif stage is None:
            assert name == "ARG", name
            arguments.update([value.split("=", 1)])
        else:
            stage.instructions.append((name, value))
    return arguments, stages


def last_value(stages: dict[str, Stage], name: str, instruction: str) -> str | None:
    """What a stage has of an instruction, of its own or of the stages that it is built on."""
    stage: Stage | None = stages[name]
    while stage is not None:
        if values := stage.values(instruction):
            return values[-1]
        stage = stages.get(stage.base)
    return None


def copied_from_context(stage: Stage) -> list[str]:
    """The sources of a stage's COPY instructions, those from other stages left out."""
    copies = [value.split() for value in stage.values("COPY") if not value.startswith("--from")]
    return [source for words in copies for source in words[:-1]]


def all_copied() -> set[str]:
    """The sources of all Dockerfiles."""
    return {
        source
        for dockerfile in DOCKERFILES
        for stage in stages_of(dockerfile)[1].values()
        for source in copied_from_context(stage)
    }


def command_of(value: str) -> list[str]:
    """An ENTRYPOINT, CMD or HEALTHCHECK in its exec form."""
    return [str(word) for word in json.loads(value[value.index("[") :])]


def is_ignored(path: str) -> bool:
    """Whether the builder is not sent a path, by Docker's rules: the last matching line decides.

    A pattern matches a path or any folder above it; `**` stands for any folders.
    """
    ignored = False
    for line in (REPO_ROOT / ".dockerignore").read_text().splitlines():
        pattern = line.strip()
        if not pattern or pattern.startswith("#"):
            continue
        wanted = not pattern.startswith("!")
        parts = PurePosixPath(pattern.lstrip("!")).parts
        whole = PurePosixPath(path)
        candidates = [whole, *whole.parents][:-1]
        if any(_matches(parts, candidate.parts) for candidate in candidates):
            ignored = wanted
    return ignored


def _matches(pattern: tuple[str, ...], parts: tuple[str, ...]) -> bool:
    if not pattern:
        return not parts
    if pattern[0] == "**":
        return any(_matches(pattern[1:], parts[start:]) for start in range(len(parts) + 1))
    return bool(parts) and fnmatchcase(parts[0], pattern[0]) and _matches(pattern[1:], parts[1:])


def tracked_files() -> list[str]:
    """All files of the checkout that are not git's to ignore."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=REPO_ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    return [path for path in listed if (REPO_ROOT / path).is_file()]
