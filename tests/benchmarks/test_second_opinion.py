"""Whether two load generators agree, and where they must."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import second_opinion_command
from benchmarks.__main__ import main
from benchmarks.load.plan import WorkloadSpec
from benchmarks.load.window import Mix
from benchmarks.second_opinion import Opinion, agree, compare, comparison_table

RATES = [(1, 3.0), (2, 5.6), (4, 6.0), (8, 6.1)]

PRINTED = """\
#!/bin/sh
cat <<'END'
Request concurrency: 1
  Client:
    Request count: 12
    Throughput: 1000000 infer/sec
    p50 latency: 10 usec
    p95 latency: 20 usec
    p99 latency: 30 usec
END
"""


def opinions(scale: float = 1.0, *, beyond: float = 1.0) -> list[tuple[int, Opinion]]:
    """Three turns, the middle one right, the others far off to both sides."""
    return [
        (users, Opinion(rate * scale * off * (beyond if users > 2 else 1.0), p50_ms, p95_ms))
        for off in (0.5, 1.0, 4.0)
        for users, rate in RATES
        for p50_ms in [1e3 * users / rate]
        for p95_ms in [400.0 + users]
    ]


def test_where_they_must_agree_is_up_to_the_reports_knee() -> None:
    assert [one.is_within_knee for one in compare(opinions(), opinions())] == [
        *(True, True),
        *(False, False),
    ]
    slow = [(users, Opinion(rate, 1e3, 1e3 * users)) for users, rate in [(1, 3.0), (4, 12.0)]]
    assert [one.is_within_knee for one in compare(slow, slow)] == [True, False]
    assert compare(slow[:1], slow[:1])[0].is_within_knee


def test_medians_over_the_turns_are_compared() -> None:
    comparisons = compare(opinions(), opinions(0.9))
    assert [one.rate_difference for one in comparisons] == pytest.approx([0.1] * 4)
    assert all(one.agrees for one in comparisons)
    assert agree(comparisons)
    assert "they agree within 15 %" in comparison_table(comparisons)


def test_they_may_differ_beyond_the_knee_but_not_below() -> None:
    assert agree(compare(opinions(), opinions(beyond=0.5)))
    comparisons = compare(opinions(), opinions(0.8))
    assert not agree(comparisons)
    assert "do not agree" in comparison_table(comparisons)


def test_both_send_the_same_images_and_questions() -> None:
    spec = WorkloadSpec(texts=("a?", "b?"), side=64, repeated_images=3)
    questions = second_opinion_command.same_workload(spec).questions
    source = second_opinion_command.QuestionSource(spec, Mix.REPEATED)
    sent = [next(stream).question for stream in [source.stream(0)] for _ in range(3)]
    assert list(questions) == sent
    assert len({question.image for question in questions}) == 3


@pytest.mark.server
def test_the_command_asks_by_both_and_says_that_a_strange_one_does_not_agree(
    server_address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "perf_analyzer"
    program.write_text(PRINTED)
    program.chmod(0o755)
    monkeypatch.setattr(second_opinion_command, "ensure_perf_analyzer", lambda: program)
    record_file = tmp_path / "record.json"
    status = main(
        [
            *("second-opinion", "--url", server_address, "--users", "1", "--turns", "1"),
            *("--window-requests", "1", "--distinct", "2", "--json", str(record_file)),
        ]
    )
    assert status == 1
    record = json.loads(record_file.read_text())
    assert not record["agree"]
    assert record["windows"][0]["answered"] >= 3
    assert record["perf_analyzer"][0]["requests"] == 12
