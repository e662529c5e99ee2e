"""What went wrong, in the server's or the model's own words, taken from the server's log."""

from __future__ import annotations

import re
import signal
from pathlib import Path

_TAIL_BYTES = 256 * 1024
_LAST_LINES = 8
_KILLED = 128 + signal.SIGKILL

_FAILED_MODEL = re.compile(r"\"failed to load '(?P<model>[^']+)' version \d+: (?P<reason>.*)\"$")
_FAILED_OTHERWISE = (
    re.compile(r"\[libprotobuf ERROR [^\]]*\] (?P<reason>.*)$"),
    re.compile(r'"Poll failed for model directory (?P<reason>.*)"$'),
    re.compile(r'"Invalid argument: (?P<reason>.*)"$'),
    re.compile(r'"(?P<reason>failed to start .* service: .*)"$'),
)
# An ensemble fails with each of its models; theirs is the reason.
_FOLLOWS = "which has no loaded version"
_FATAL = re.compile(r"^error: (?P<reason>.*)$")
# Status codes that Triton puts before a model's words say less than the words.
_STATUS = re.compile(r"^(Internal|Invalid argument|Unknown|Unavailable|Not found): ")
# What every server on a machine without a GPU logs, and the tables of a healthy start.
_NOISE = re.compile(r"CUDA|CudaDriverHelper|NVML|DCGM|pinned|^\s*$|^[+|]|^I\d{4} ")


def read_tail(log: Path, begin: int = 0) -> str:
    """The end of a log, some hundred kilobytes at most; empty where there is none.

    What lies before the byte `begin` is another server's.
    """
    try:
        with log.open("rb") as stream:
            stream.seek(0, 2)
            stream.seek(max(begin, stream.tell() - _TAIL_BYTES))
            return stream.read().decode(errors="replace").replace("\0", "")
    except OSError:
        return ""


def explain_failure(log_text: str, status: int | None = None) -> str:
    """The reasons that the log gives, joined; else its last telling lines.

    `status` is the exit status, where the server has ended.
    """
    reasons: list[str] = []
    fatal: list[str] = []
    for line in log_text.splitlines():
        if found := _FAILED_MODEL.search(line):
            reasons.append(f"model {found['model']!r}: {_first_part(found['reason'])}")
        for pattern in _FAILED_OTHERWISE:
            if (found := pattern.search(line)) and _FOLLOWS not in line:
                reasons.append(_first_part(found["reason"]))
        if found := _FATAL.search(line):
            fatal.append(found["reason"].strip())
    # Reasons before the last word: "failed to load all models" names none of them.
    if chosen := reasons or fatal:
        return "; ".join(dict.fromkeys(chosen))
    lines = [line for line in log_text.splitlines() if not _NOISE.search(line)]
    if lines:
        return " | ".join(lines[-_LAST_LINES:])
    if status == _KILLED:
        return "it was killed, as a system does that runs out of memory"
    return "its log says nothing" + ("" if status is None else f", its exit status is {status}")


def _first_part(reason: str) -> str:
    """A model's message without its stack, on one line."""
    message, _, stack = _STATUS.sub("", reason).partition("\\n\\nAt:")
    place = re.search(r"model\.py\(\d+\)", stack)
    message = " ".join(message.replace("\\n", " ").split())
    return f"{message} (at {place[0]})" if place else message
