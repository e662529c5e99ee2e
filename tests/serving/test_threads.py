"""A stage's threads and cores, as its process takes them at start."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from organseg.errors import EngineError
from organseg.serving.threads import keep_to_cores

PINNED = """
import os, threading
from organseg.serving.threads import keep_to_cores
begin, end = threading.Event(), threading.Event()
earlier = threading.Thread(target=lambda: (begin.set(), end.wait()))
earlier.start()
begin.wait()
core = max(os.sched_getaffinity(0))
keep_to_cores([core])
later = threading.Thread(target=end.wait)
later.start()
tasks = [int(name) for name in os.listdir("/proc/self/task")]
print(len(tasks) >= 3, all(os.sched_getaffinity(task) == {core} for task in tasks))
end.set()
"""
TORCH = """
import torch
from organseg.serving.threads import limit_torch_threads
limit_torch_threads(3)
limit_torch_threads(2)
print(torch.get_num_threads(), torch.get_num_interop_threads())
"""


def printed(code: str) -> str:
    """What a process of its own prints: cores and torch's threads are set once."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_threads_of_before_and_after_keep_to_the_cores() -> None:
    assert printed(PINNED) == "True True"


def test_no_cores_leave_the_process_as_it_is() -> None:
    before = os.sched_getaffinity(0)
    keep_to_cores(())
    assert os.sched_getaffinity(0) == before


def test_a_core_that_is_not_there_is_refused_and_nothing_changes() -> None:
    before = os.sched_getaffinity(0)
    with pytest.raises(EngineError, match=r"wanted the cores .*4095, this process may use .*0"):
        keep_to_cores((min(before), 4095))
    assert os.sched_getaffinity(0) == before


def test_torch_does_no_operations_side_by_side() -> None:
    assert printed(TORCH) == "2 1"
