"""`python -m benchmarks scaling` from the command line to its text, record and page."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from benchmarks.__main__ import main
from benchmarks.load.window import Window
from benchmarks.scaling import checking
from benchmarks.scaling.checking import compare
from benchmarks.scaling.costs import flow_of
from benchmarks.scaling.flow import Site
from benchmarks.scaling.load_model import Stickiness
from benchmarks.scaling.page import PAGE, marks
from benchmarks.scaling.page import main as render_page
from benchmarks.scaling.planning import Question, bottlenecks, servers_for
from organseg.errors import InvalidInputError

Record = dict[str, Any]


@pytest.fixture
def stages_file(stages: Record, tmp_path: Path) -> Path:
    path = tmp_path / "stages.json"
    path.write_text(json.dumps(stages))
    return path


def plan(stages_file: Path, *more: str) -> int:
    arguments = ["--stages", str(stages_file), "--rate", "30", "--p95-ms", "300"]
    arguments += ["--requests", "800"]
    return main(["scaling", "plan", *arguments, *more])


def test_a_plan_names_servers_bottlenecks_savings_and_the_cost_of_sticking(
    stages_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record_file = tmp_path / "plan.json"
    assert plan(stages_file, "--reuse-hit", "0.6", "--json", str(record_file)) == 0
    record = json.loads(record_file.read_text())
    assert record["outcome"]["p95_ms"] <= 300
    assert record["servers"] < record["servers_without_reuse"]
    rates = [point["servers"] for point in record["curve"]]
    assert rates == sorted(rates)
    hits = [(row["stickiness"], row["hit_rate"]) for row in record["stickiness"]]
    sticky = min(hit for name, hit in hits if name == "sticky")
    assert sticky > max(hit for name, hit in hits if name == "any")
    text = capsys.readouterr().out
    assert f"p95 within 300 ms: {record['servers']} servers" in text
    assert "**sticky**" in text
    assert str(tmp_path) not in record_file.read_text()


def test_a_plan_for_gpus_says_that_its_times_are_assumed(
    stages_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert plan(stages_file, "--gpu-targets", "llava-med-7b", "--cores", "8") == 0
    text = capsys.readouterr().out
    assert "**GPU stages assumed**" in text
    assert "GPUs in all" in text


def test_a_p95_below_a_lone_request_is_refused_in_one_line(
    stages_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--stages", str(stages_file), "--rate", "1", "--p95-ms", "20"]
    assert main(["scaling", "plan", *arguments]) == 1
    assert "whatever the number of servers" in capsys.readouterr().err


def test_fewer_servers_do_not_keep_the_p95(stages: Record) -> None:
    flow, question = flow_of(stages), Question(120.0, 250.0)
    count, outcome = servers_for(flow, question, requests=1_000)
    assert outcome.p95_ms <= 250
    stuck = Question(120.0, 250.0, hit_rate=0.7, stickiness=Stickiness.STICKY, think_ms=500.0)
    kept, _ = servers_for(flow, stuck, requests=1_000)
    anywhere = Question(120.0, 250.0, hit_rate=0.7, stickiness=Stickiness.ANY, think_ms=500.0)
    lost, _ = servers_for(flow, anywhere, requests=1_000)
    assert kept < lost <= count
    with pytest.raises(InvalidInputError, match="no more"):
        servers_for(flow, Question(1e6, 250.0), requests=100)


def test_each_step_widens_what_was_narrowest(stages: Record) -> None:
    steps = bottlenecks(flow_of(stages), Site(cores=2))
    rates = [step.per_s for step in steps]
    assert rates == sorted(rates)
    for before, after in pairwise(steps):
        assert before.bottleneck in after.added or "cores" in after.added


def test_the_page_is_rendered_from_its_records_and_checked(
    measured: Record, stages_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page, results = tmp_path / "scaling.md", tmp_path / "results"
    results.mkdir()
    page.write_text("\n".join(("Title", *marks("check"), "between", *marks("plan"), "end\n")))
    assert render_page(check=False, page=page, results=results) == 0
    assert page.read_text().count("Not measured yet") == 2
    record = {**measured, "check": compare(measured, requests=200)}
    (results / "check-tiny.json").write_text(json.dumps(record))
    assert plan(stages_file, "--json", str(results / "plan-tiny.json")) == 0
    assert render_page(check=True, page=page, results=results) == 1
    assert "out of date" in capsys.readouterr().err
    assert render_page(check=False, page=page, results=results) == 0
    text = page.read_text()
    assert text.startswith("Title\n")
    assert text.endswith("end\n")
    assert "| 2 | 4 | 1 |" in text
    assert "30 requests/s, every image new" in text
    assert render_page(check=True, page=page, results=results) == 0


def test_a_page_without_its_marks_is_refused(tmp_path: Path) -> None:
    page = tmp_path / "scaling.md"
    page.write_text("nothing")
    assert render_page(check=False, page=page, results=tmp_path) == 1


def test_the_repositorys_page_is_up_to_date() -> None:
    assert PAGE.is_file()
    assert main(["scaling", "page", "--check"]) == 0


@pytest.mark.server
@pytest.mark.slow
def test_one_server_and_two_are_held_against_the_model(
    release: Path, serving_again: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checking, "serving", serving_again)
    record_file = tmp_path / "check.json"
    small = ["--seconds", "1", "--turns", "1", "--requests", "2", "--rounds", "1", "--users", "1"]
    arguments = ["--release", str(release), *small, "--json", str(record_file)]
    assert main(["scaling", "check", *arguments]) == 0
    record = json.loads(record_file.read_text())
    assert [row["servers"] for row in record["check"]] == [1, 2]
    for row in record["check"]:
        assert row["errors"] == 0
        assert row["measured"]["per_s"] > 0
        assert row["predicted"]["per_s"] > 0
    one, two = (Window.from_json(window) for window in record["windows"])
    assert one.server_cpu_s
    assert two.server_cpu_s is None
