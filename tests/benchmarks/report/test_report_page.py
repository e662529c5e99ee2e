"""The page and the Markdown: every section, every value, and nothing from outside."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import pytest

from benchmarks.__main__ import main

SECTIONS = (
    "Goals",
    "Rising users",
    "Rising rate",
    "Peers",
    "Follow-up questions",
    "One request, stage by stage",
    "Latency by stage",
    "Mean batch",
    "What was kept",
    "Processor and memory",
    "Second opinion",
    "Memory over a long time",
    "Errors",
    "Records",
)
# What an element loads by itself when a page is opened.
LOADING = ("src", "srcset", "poster", "data", "action", "background")


class Page(HTMLParser):
    """What a reader of the page finds in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.ids: list[str] = []
        self.heads: list[str] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        self._open.append(tag)
        identity = dict(attributes).get("id")
        if identity:
            self.ids.append(identity)

    def handle_data(self, data):
        if self._open and self._open[-1] == "h2":
            self.heads.append(data)
            self._open.pop()
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def report(records, folder) -> tuple[str, str]:
    """The Markdown and the page."""
    assert main(["report", "--records", *map(str, records), "--out", str(folder)]) == 0
    assert sorted(path.name for path in folder.iterdir()) == ["report.html", "report.md"]
    return (folder / "report.md").read_text(), (folder / "report.html").read_text()


@pytest.fixture(scope="module")
def whole(every_record, tmp_path_factory) -> tuple[str, str]:
    """The report of one record of each kind."""
    return report(every_record, tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="module")
def of_stages(stages_record, tmp_path_factory) -> str:
    """The Markdown of a report that has one record only."""
    return report([stages_record], tmp_path_factory.mktemp("report"))[0]


def test_the_page_has_every_section_and_loads_nothing(whole):
    markdown, html = whole
    page = Page(html)
    assert tuple(page.heads) == SECTIONS
    assert all(f"\n## {section}\n" in markdown for section in SECTIONS)
    assert "Not measured" not in markdown
    assert not re.search(r"https?://|@import|url\((?!#)", html)
    assert not {"script", "link", "img", "iframe", "object", "image"} & {
        tag for tag, _ in page.elements
    }
    assert not [name for _, found in page.elements for name in found if name in LOADING]
    references = [found["href"] or "" for _, found in page.elements if "href" in found]
    assert all(each.startswith("#") and each[1:] in page.ids for each in references)
    assert len(page.ids) == len(set(page.ids))


def test_every_plot_is_told_to_those_who_cannot_see_it(whole):
    _, html = whole
    page = Page(html)
    plots = page.all("svg")
    assert len(plots) == html.count("<figcaption>") == 13
    for plot in plots:
        assert plot["role"] == "img"
        assert all(name in page.ids for name in (plot["aria-labelledby"] or "").split())
    # Colours are the page's, which has them for a light and for a dark ground.
    assert not re.search(r"#0102[0-9a-f]{2}", html)
    assert "var(--series-1)" in html
    assert "prefers-color-scheme: dark" in html
    assert page.all("html") == [{"lang": "en"}]


def shown(value: object) -> set[str]:
    """The ways in which a value of a record may be written."""
    if isinstance(value, bool):
        return {"yes" if value else "no"}
    if isinstance(value, int | float):
        kept = {f"{value:,.{digits}f}" for digits in range(4)} | {f"{value:g}"}
        return kept | {f"{value / 2**20:,.1f}", f"{value:.1%}"}
    return {str(value)}


def test_every_value_of_the_windows_stands_in_the_report(load_windows, peer_windows, whole):
    markdown, html = whole
    text = Page(html).text
    for window in load_windows:
        values: list[object] = [window.answered, window.per_second, window.seconds]
        values += [window.server_cpu_s, window.client_cpu_s, window.server_memory_mib]
        values += [window.rejected, *window.errors, *window.errors.values()]
        for latency in (window.latency, window.first_latency, window.follow_up_latency):
            values += [] if latency is None else [latency.p50_ms, latency.p95_ms]
        values += [window.latency.p90_ms, window.latency.p99_ms, window.latency.max_ms]
        for stage in window.stages or ():
            values += [stage.name, stage.requests, stage.executions, stage.mean_batch]
            values += [stage.queue_ms, stage.compute_ms]
        for kept in (window.cache or {}).values():
            values += [kept.hits, kept.misses, kept.bytes, kept.evictions]
        for value in values:
            assert any(each in markdown for each in shown(value)), value
            assert any(each in text for each in shown(value)), value
    for window in peer_windows:
        assert any(each in markdown for each in shown(round(window.per_second, 2)))


def numbers_in(document: object) -> list[float]:
    if isinstance(document, dict):
        return [each for value in document.values() for each in numbers_in(value)]
    if isinstance(document, list):
        return [each for value in document for each in numbers_in(value)]
    return [document] if isinstance(document, float) else []


def test_every_measurement_of_the_small_records_stands_in_the_report(
    stages_record, follow_up_record, second_opinion_record, whole
):
    records = [stages_record, follow_up_record, second_opinion_record]
    markdown, _ = whole
    told = ("end_to_end_ms", "rows", "levels")
    for path in records:
        document = json.loads(path.read_text())
        for value in numbers_in({name: document.get(name) for name in told}):
            assert any(each in markdown for each in shown(value)), (path.name, value)
    inside = json.loads(stages_record.read_text())["in_process"]
    for value in (*inside["stages_ms"].values(), inside["overhead_per_hop_ms"]):
        assert any(each in markdown for each in shown(value)), value


def test_goals_say_whether_they_are_reached_or_by_how_much_they_are_missed(whole):
    markdown, html = whole
    goals = markdown.partition("## Goals")[2].partition("\n## ")[0]
    assert "**8 of 9 reached.**" in goals
    assert re.search(r"vs FastAPI, torch eager \| ≥ 1.50 \| 2.27 \| .* \| reached \|", goals)
    assert re.search(r"vs LitServe, torch \| ≥ 1.20 \| 1.10 \| .* \| missed by 8% \|", goals)
    assert html.count('class="word missed"') == 1


def test_the_knee_is_told_and_marked(whole):
    markdown, html = whole
    assert "**Distinct images**: the knee is at 4 users, 18.50 answers/s" in markdown
    assert "| knee 4 | 20.0 | 370 |" in markdown
    assert "the knee is at 12 requests/s due" in markdown
    assert ">knee</text>" in html


@pytest.mark.parametrize(
    ("section", "command"),
    [
        ("Goals", "peers"),
        ("Rising users", "load"),
        ("Rising rate", "load"),
        ("Peers", "peers"),
        ("Follow-up questions", "follow-up"),
        ("Latency by stage", "load"),
        ("Second opinion", "second-opinion"),
        ("Memory over a long time", "memory-soak"),
        ("Errors", "load"),
    ],
)
def test_what_was_not_measured_names_the_command_that_does(section, command, of_stages):
    words = of_stages.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    assert f"Not measured. This makes the record: `python -m benchmarks {command} " in words
    assert "build/releases/tiny" in words


def test_a_file_that_is_no_record_is_named_without_its_folder(tmp_path, capsys):
    (tmp_path / "other.json").write_text('{"benchmark": "engines"}')
    arguments = ["report", "--records", str(tmp_path / "other.json"), "--out", str(tmp_path)]
    assert main(arguments) == 1
    said = capsys.readouterr().err
    assert "'other.json' is another" in said
    assert str(tmp_path) not in said


def test_records_of_two_makings_are_told_apart(follow_up_record, stages_record, tmp_path):
    document = json.loads(stages_record.read_text())
    document["run"]["commit"]["id"] = "fedcba9876543210"
    other = tmp_path / "other.json"
    other.write_text(json.dumps(document))
    markdown, _ = report([follow_up_record, other], tmp_path / "out")
    assert "**Not of one making:**" in markdown
    assert "fedcba987654" in markdown


def test_markup_in_a_record_is_shown_and_not_obeyed(load_record, tmp_path):
    document = json.loads(load_record.read_text())
    document["windows"][0]["errors"] = {"<script>alert(1)</script>": 1}
    document["run"]["machine"]["cpu"] = "a <b>CPU</b> | and more"
    hostile = tmp_path / "hostile.json"
    hostile.write_text(json.dumps({**document, "windows": document["windows"][:1]}))
    markdown, html = report([hostile], tmp_path / "out")
    page = Page(html)
    assert not page.all("script")
    assert not page.all("b")
    assert "<script>alert(1)</script>" in page.text
    assert "a <b>CPU</b> \\| and more" in markdown
