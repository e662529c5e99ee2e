"""What Linux says of a server's threads and memory."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.tuning.contention import ThreadTimes, contention_between, thread_times
from benchmarks.tuning.room import lacking_room, stage_memory_mib
from organseg.contract.deployment_file import StageChoice

CORES = sorted(os.sched_getaffinity(0))
BUSY = """
import os, sys, threading
os.sched_setaffinity(0, {int(sys.argv[1])})
def spin():
    while True:
        pass
threading.Thread(target=spin, daemon=True).start()
print("ready", flush=True)
spin()
"""


@pytest.fixture(scope="module")
def busy() -> Iterator[int]:
    """A session whose process has two threads on one core, called as the stub of a stage is."""
    process = subprocess.Popen(
        [sys.executable, "-c", BUSY, str(CORES[0]), "stub", "/models/gate/1/model.py"],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    yield process.pid
    process.kill()
    process.communicate()


def test_threads_that_want_one_core_are_counted_as_running_or_ready(busy: int) -> None:
    before, deadline = thread_times(busy), time.monotonic() + 30
    after = before
    while after.running_s - before.running_s < 0.3 and time.monotonic() < deadline:
        after = thread_times(busy)
    seen = contention_between(before, after, running=1.0)
    assert after.running_s - before.running_s >= 0.3
    assert seen.running == 1.0
    assert seen.runnable > 1.0
    assert after.taken_away + after.given_up > before.taken_away + before.given_up


def test_shares_are_of_the_time_on_a_core() -> None:
    before, after = ThreadTimes(1.0, 1.0, 10, 0), ThreadTimes(3.0, 5.0, 30, 4)
    seen = contention_between(before, after, running=1.5)
    assert seen.runnable == pytest.approx(1.5 * (1 + 4 / 2))
    assert (seen.given_up_per_cpu_s, seen.taken_away_per_cpu_s) == (10.0, 2.0)
    assert contention_between(before, before, running=0.0).runnable == 0.0


def test_a_session_that_has_ended_has_no_threads(tmp_path: Path) -> None:
    assert thread_times(1, tmp_path) == ThreadTimes(0.0, 0.0, 0, 0)


def test_another_instance_is_only_tried_where_it_has_room(busy: int) -> None:
    one = {"gate": StageChoice(instances=1)}
    many = {"gate": StageChoice(instances=4)}
    stage = stage_memory_mib(busy, "gate")
    assert stage > 1
    assert stage_memory_mib(busy, "postprocess") == 0
    # The second server beside the first takes as much as it, and three instances more.
    assert lacking_room(busy, one, one, available_mib=2 * stage) == ""
    assert lacking_room(busy, one, many, available_mib=5 * stage) == ""
    lacking = lacking_room(busy, one, many, available_mib=2 * stage)
    assert lacking.startswith("wanted ")
    assert lacking_room(busy, many, one, available_mib=2 * stage) == ""
