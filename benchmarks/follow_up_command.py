"""`python -m benchmarks follow-up`: a second question about an image against the first."""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.options import count
from benchmarks.record import describe_run, write_record
from benchmarks.served import serving
from benchmarks.workload import make_workload
from organseg_client import OrganSegClient

_DESCRIPTION = """\
Ask a served release a first question about an image, then another about the same one, image after
image, each image another one. With --direct-release, a release of the same weights that keeps
nothing (`python -m export --image-features direct`) is asked both as well, by turns: what the first
question pays for being remembered, and what the second gains. Prints medians as a Markdown table.
"""

_DEADLINE_S = 120.0
_WARM_UP = 3
_QUESTIONS = ("Which organ stores bile?", "Show me the liver.")
REUSING, DIRECT = "reuse", "direct"


@dataclass(frozen=True)
class FollowUp:
    """The medians of one release."""

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
    parser.add_argument(
        "--release",
        type=Path,
        metavar="DIR",
        required=True,
        help="a release that keeps what it computed of an image",
    )
    parser.add_argument(
        "--direct-release", type=Path, metavar="DIR", help="a release that keeps nothing"
    )
    parser.add_argument(
        "--images",
        type=count,
        default=30,
        metavar="N",
        help="distinct images that are asked about (default: 30)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the record here")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Measures and reports. Raises `OrganSegError`."""
    about = describe_run()
    releases = {REUSING: options.release}
    if options.direct_release:
        releases[DIRECT] = options.direct_release
    with ExitStack() as opened:
        clients, servers = {}, {}
        for name, release in releases.items():
            server = opened.enter_context(serving(release, None))
            servers[name] = server.known
            client = OrganSegClient(server.address, deadline_s=_DEADLINE_S)
            clients[name] = opened.enter_context(client)
        found = measure(clients, _images(options.images))
    print(table(found))
    if options.json:
        record = {
            "benchmark": "follow-up",
            **about,
            "servers": servers,
            "images": options.images,
            "rows": [{**asdict(each), "ratio": each.ratio} for each in found],
        }
        write_record(options.json, record)
    return 0


def measure(clients: Mapping[str, OrganSegClient], images: Sequence[bytes]) -> list[FollowUp]:
    """The medians of each release, all asked about every image, by turns."""
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in clients}
    for turn, image in enumerate(images):
        # Who is asked first changes, so that no one always comes behind the other's work.
        for name in sorted(clients, reverse=bool(turn % 2)):
            first, second = (_time(clients[name], image, text) for text in _QUESTIONS)
            if turn >= _WARM_UP:
                taken[name].append((first, second))
    return [
        FollowUp(name, *map(statistics.median, zip(*pairs, strict=True)))
        for name, pairs in taken.items()
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


def _images(wanted: int) -> list[bytes]:
    """Distinct images, those of the warm-up first."""
    return [question.image for question in make_workload(_WARM_UP + wanted).questions]


def _time(client: OrganSegClient, image: bytes, text: str) -> float:
    started = time.perf_counter()
    client.segment(image, text)
    return (time.perf_counter() - started) * 1e3
