"""The fenced code of a Markdown page, and how it is run: as a reader would, in his checkout."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

REPO_ROOT = Path(__file__).resolve().parents[2]

PROSE = frozenset({"", "text", "json"})
"""Languages of fences that show something and are not to be run; every other is."""

OWN_FOLDERS = frozenset({"client", ".git", ".venv", "build"})
"""What of the checkout a run does not share, since snippets write there or it is not the tree's."""

_FENCE = re.compile(r"^```(\S*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SEPARATOR = "\x1e"


@dataclass(frozen=True)
class Snippet:
    """One block of code of a page."""

    page: str
    """The page, as a path below the checkout."""
    line: int
    """The line of the page on which the code begins, counted from 1."""
    language: str
    """The word behind the fence."""
    code: str
    """The code, ending in a newline."""
    shown: str | None
    """What the page says that it prints: the `text` block right behind it, if there is one."""

    @property
    def first_line(self) -> str:
        """What the list of snippets that are not run calls it by."""
        return self.code.splitlines()[0]

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def snippets_of(page: str) -> list[Snippet]:
    """All code of a page that a reader may run, in its order."""
    text = (REPO_ROOT / page).read_text(encoding="utf-8")
    fences = list(_FENCE.finditer(text))
    found = []
    for index, fence in enumerate(fences):
        if fence[1] in PROSE:
            continue
        following = fences[index + 1] if index + 1 < len(fences) else None
        is_shown = (
            following is not None
            and following[1] == "text"
            and not text[fence.end() : following.start()].strip()
        )
        line = text.count("\n", 0, fence.start(2)) + 1
        shown = following[2] if following and is_shown else None
        found.append(Snippet(page, line, fence[1], fence[2], shown))
    return found


def make_folder(folder: Path) -> None:
    """A checkout in which snippets may write: links to the tree, and an own copy of examples."""
    for entry in REPO_ROOT.iterdir():
        if entry.name not in OWN_FOLDERS:
            (folder / entry.name).symlink_to(entry)
    (folder / ".venv").symlink_to(sys.prefix)
    client = folder / "client"
    client.mkdir()
    (client / "organseg_client").symlink_to(REPO_ROOT / "client" / "organseg_client")
    shutil.copytree(
        REPO_ROOT / "client" / "examples",
        client / "examples",
        ignore=shutil.ignore_patterns("node_modules"),
    )


def environment(**more: str) -> dict[str, str]:
    """This process's environment with the virtual environment first on PATH."""
    own = {**os.environ, **more}
    own["PATH"] = os.pathsep.join((str(Path(sys.prefix, "bin")), own.get("PATH", os.defpath)))
    return own


def run_shell(
    code: str, folder: Path, variables: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs a block of shell commands; the first that fails ends it."""
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", code],
        cwd=folder,
        env=environment(**(variables or {})),
        capture_output=True,
        text=True,
        timeout=280,
    )


def run_python(
    snippets: list[Snippet], folder: Path, rewrite: Callable[[str], str]
) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """Runs a page's Python blocks one after another in one interpreter, with warnings as errors.

    Gives the process and what each block printed. The code lies on the lines that it has in the
    page, so a traceback names them.
    """
    lines: list[str] = []
    for snippet in snippets:
        lines += [""] * (snippet.line - 1 - len(lines))
        lines += snippet.code.splitlines()
        lines.append(f"print({_SEPARATOR!r}, end='')")
    program = rewrite("\n".join(lines))
    path = folder / f"{Path(snippets[0].page).name}.py"
    path.write_text(program, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "error", path.name],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=280,
    )
    return done, done.stdout.split(_SEPARATOR)
