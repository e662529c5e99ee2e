"""A sweep's windows, and the command from its arguments to table and record."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import pytest
from test_load_window import WINDOW

from benchmarks.__main__ import main
from benchmarks.load.observation import ServerView
from benchmarks.load.options import input_spec, server_view
from benchmarks.load.plan import LoadPlan, WorkloadSpec
from benchmarks.load.sweep import NotMeasured, Sweep, run_sweep
from benchmarks.load.window import Loop, Mix, Window
from benchmarks.served import Served
from organseg.errors import NotServedError

SWEEP = Sweep(mixes=(Mix.DISTINCT, Mix.SESSIONS), users=(1, 4), fractions=(0.5, 1.1))


def measured(plan: LoadPlan) -> Window:
    """Each user is answered twice a second, up to six answers in all."""
    per_second = min(2.0 * plan.users, 6.0) if plan.rate_per_s is None else plan.rate_per_s
    return replace(
        WINDOW,
        mix=plan.mix,
        loop=plan.loop,
        users=plan.users,
        rate_per_s=plan.rate_per_s,
        per_second=per_second,
    )


def test_the_open_loop_goes_at_parts_of_the_closed_loop_s_best_rate() -> None:
    outcomes = list(run_sweep(SWEEP, measured))
    assert len(outcomes) == SWEEP.windows == 8
    windows = [one for one in outcomes if isinstance(one, Window)]
    assert [(one.mix, one.loop) for one in windows] == [
        (mix, loop) for mix in SWEEP.mixes for loop in (Loop.CLOSED,) * 2 + (Loop.OPEN,) * 2
    ]
    assert [one.rate_per_s for one in windows[2:4]] == pytest.approx([3.0, 6.6])
    assert [one.users for one in windows[2:4]] == [16, 27]


def test_a_mix_that_cannot_be_measured_says_why_and_the_others_go_on() -> None:
    def measure(plan: LoadPlan) -> Window:
        if plan.mix is Mix.DISTINCT and plan.users == 4:
            raise NotServedError("wanted sessions")
        return measured(plan)

    outcomes = list(run_sweep(SWEEP, measure))
    assert isinstance(outcomes[1], NotMeasured)
    assert outcomes[1].error == "wanted sessions"
    assert [one.mix for one in outcomes[2:] if isinstance(one, Window)] == [Mix.SESSIONS] * 4


def test_an_open_loop_behind_a_closed_one_without_answers_says_that_it_has_no_rate() -> None:
    outcomes = list(run_sweep(SWEEP, lambda plan: replace(measured(plan), per_second=0.0)))
    lost = [one for one in outcomes if isinstance(one, NotMeasured)]
    assert [one.plan.mix for one in lost] == list(SWEEP.mixes)
    assert all("--rates" in one.error for one in lost)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (["--loops", "open"], "name them with --rates"),
        (["--questions-per-session", "0"], "wanted a whole number of 1 or more"),
        (["--repeated-images", "0"], "wanted a whole number of 1 or more"),
        (["--side", "-64"], "wanted a whole number of 1 or more"),
    ],
)
def test_what_would_measure_nothing_is_refused_before_a_server_is_asked(
    wrong: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        status = main(["load", "--url", "127.0.0.1:1", *wrong])
    except SystemExit as refused:
        status = int(refused.code or 0)
    assert status > 0
    assert said in capsys.readouterr().err


def test_files_are_named_as_the_load_process_in_its_own_folder_finds_them() -> None:
    options = argparse.Namespace(images=[Path("a.png")], questions=["liver?"], seed=3)
    assert input_spec(options) == WorkloadSpec((str(Path.cwd() / "a.png"),), ("liver?",), 3)


def test_a_server_that_tells_no_statistics_is_measured_without(
    capsys: pytest.CaptureFixture[str],
) -> None:
    options = argparse.Namespace(tls=False, tls_root=None, tls_key=None, metrics_url=None)
    assert server_view(options, Served("127.0.0.1:1", {})) == ServerView()
    assert "without Triton's statistics" in capsys.readouterr().err


@pytest.mark.server
def test_the_command_asks_a_running_server_and_writes_a_record(
    server_address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record_file = tmp_path / "load.json"
    status = main(
        [
            *("load", "--url", server_address, "--mixes", "repeated", "--loops", "closed"),
            *("--users", "2", "--seconds", "1", "--side", "64", "--questions", "Show the liver."),
            *("--json", str(record_file)),
        ]
    )
    assert status == 0
    record = json.loads(record_file.read_text())
    (window,) = map(Window.from_json, record["windows"])
    assert (window.mix, window.loop, window.users) == (Mix.REPEATED, Loop.CLOSED, 2)
    assert window.server_cpu_s is None
    assert window.stages
    assert record["server"]["address"] == server_address
    assert record["run"]["machine"]["cores"] >= 1
    assert record["not_measured"] == []
    assert "| repeated | closed | 2 |" in capsys.readouterr().out
