"""`python -m benchmarks follow-up`: a second question about an image against the first."""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from benchmarks.load.options import input_spec
from benchmarks.load.plan import LoadPlan, WorkloadSpec
from benchmarks.load.questions import QuestionSource
from benchmarks.load.window import Mix
from benchmarks.options import add_input_options, count
from benchmarks.record import describe_run, write_record
from benchmarks.served import add_server_options, serving
from benchmarks.workload import ImageSource, Question
from organseg.contract import ImageFeatures
from organseg.errors import InvalidInputError
from organseg_client import OrganSegClient

_DESCRIPTION = """\
Ask a server a first question about an image, then another about the same one, image after image,
each image one that it has never seen, of your own files too. With --direct-release, a release of
the same weights that keeps nothing (`python -m export --image-features direct`) is asked both as
well, by turns: what the first question pays for being remembered, and what the second gains.
Prints medians as a Markdown table.
"""

_DEADLINE_S = 120.0
_WARM_UP = 3
_QUESTIONS = ("Which organ stores bile?", "Show me the liver.")

Pair = tuple[Question, Question]
"""A first question about an image, and another about the same one."""


@dataclass(frozen=True)
class FollowUp:
    """The medians of one server."""

    image_features: str
    """`reuse` or `direct`."""
    first_ms: float
    """A first question about an image, end to end at the client, milliseconds."""
    follow_up_ms: float
    """The next one about the same image, milliseconds."""

    @property
    def ratio(self) -> float:
        """The follow-up's share of the first question's time."""
        return self.follow_up_ms / self.first_ms


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `follow-up`."""
    parser = commands.add_parser(
        "follow-up",
        help="a second question about an image against the first",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_server_options(parser)
    parser.add_argument(
        "--direct-release", type=Path, metavar="DIR", help="a release that keeps nothing"
    )
    parser.add_argument(
        "--count",
        type=count,
        default=30,
        metavar="N",
        help="distinct images that are asked about (default: 30)",
    )
    add_input_options(
        parser,
        questions="questions to ask in turn, two for each image; one alone is asked twice "
        f"(default: {' '.join(map(repr, _QUESTIONS))})",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the record here")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Measures and reports. Raises `OrganSegError`."""
    about = describe_run()
    pairs = question_pairs(input_spec(options), _WARM_UP + options.count)
    asked = [(options.release, options.url)]
    if options.direct_release:
        asked.append((options.direct_release, None))
    clients: dict[str, OrganSegClient] = {}
    servers: dict[str, dict[str, Any]] = {}
    with ExitStack() as opened:
        for release, url in asked:
            server = opened.enter_context(serving(release, url))
            client = OrganSegClient(server.address, deadline_s=_DEADLINE_S)
            name = image_features(opened.enter_context(client)).value
            if name in clients:
                raise InvalidInputError(
                    "wanted a server that keeps what it computed of an image and one that keeps "
                    f"nothing, got two of `{name}`: name them with --release or --url and with "
                    "--direct-release, or leave --direct-release out"
                )
            clients[name], servers[name] = client, server.known
        found = measure(clients, pairs)
    print(table(found))
    if options.json:
        images = ImageSource.FILES if options.images else ImageSource.SAMPLES
        record = {
            "benchmark": "follow-up",
            **about,
            "servers": servers,
            "images": options.count,
            "workload": {
                "images": images.value,
                "questions": "those given" if options.questions else "two fixed ones",
                "seed": options.seed,
            },
            "rows": [{**asdict(each), "ratio": each.ratio} for each in found],
        }
        write_record(options.json, record)
    return 0


def question_pairs(spec: WorkloadSpec, wanted: int) -> list[Pair]:
    """Pairs of questions about so many images, none of which a server can know.

    The questions are those of `spec` in their order, from the first again once all are used; two
    fixed ones where it names none. Raises `ImageError` for a file that cannot be used.
    """
    spec = replace(spec, texts=spec.texts or _QUESTIONS, questions_per_session=2)
    plan = LoadPlan(Mix.SESSIONS, requests=2 * wanted, workload=spec).numbered()
    asked = (one.question for one in QuestionSource(plan.workload, Mix.SESSIONS).stream(0))
    return list(islice(zip(asked, asked, strict=True), wanted))


def image_features(client: OrganSegClient) -> ImageFeatures:
    """Whether the server keeps what it computed of an image, by what it says of itself."""
    # It has sessions where it keeps.
    keeps = client.capabilities().keeps_images
    return ImageFeatures.REUSE if keeps else ImageFeatures.DIRECT


def measure(clients: Mapping[str, OrganSegClient], pairs: Sequence[Pair]) -> list[FollowUp]:
    """The medians of each server, all asked every pair, by turns; the first are its warm-up."""
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in clients}
    for turn, (first, further) in enumerate(pairs):
        # Who is asked first changes, so that no one always comes behind the other's work.
        for name in sorted(clients, reverse=bool(turn % 2)):
            times_ms = _time_ms(clients[name], first), _time_ms(clients[name], further)
            if turn >= _WARM_UP:
                taken[name].append(times_ms)
    return [
        FollowUp(name, *map(statistics.median, zip(*pairs_ms, strict=True)))
        for name, pairs_ms in taken.items()
    ]


def table(found: Sequence[FollowUp]) -> str:
    """The medians as a Markdown table."""
    lines = ["| image features | first ms | follow-up ms | ratio |", "|---|--:|--:|--:|"]
    lines += [
        f"| {each.image_features} | {each.first_ms:.1f} | {each.follow_up_ms:.1f} "
        f"| {each.ratio:.2f} |"
        for each in found
    ]
    return "\n".join(lines)


def _time_ms(client: OrganSegClient, question: Question) -> float:
    started = time.perf_counter()
    client.segment(question.image, question.text)
    return (time.perf_counter() - started) * 1e3
