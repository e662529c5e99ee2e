"""`python -m demo`: exports a release, serves it, asks seven questions, shows the answers."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from demo.questions import QUESTIONS, DemoQuestion
from demo.sheet import write_sheet
from organseg.errors import OrganSegError
from organseg.serving.embedded import EmbeddedServer, EnsembleProbe, ServerOptions
from organseg.serving.manifest import MODELS_FOLDER, Manifest, verify_release
from organseg_client import OrganSegClient, SegmentationResult

HERE = Path(__file__).resolve().parent
SAMPLES = HERE / "samples"
OVERLAYS = HERE / "overlays"
RESULTS = HERE / "results.json"
SHEET = "all.png"
"""All overlays in one picture."""
LOG = HERE.parent / "build" / "demo.log"
RELEASE = HERE.parent / "build" / "releases" / "tiny"


@dataclass(frozen=True)
class Row:
    """One answered question, as `results.json` lists it."""

    question: str
    """The question."""
    kind: str
    """What it shows."""
    image: str
    """The sample slice."""
    verdict: str
    """The whole answer's verdict."""
    organs: list[dict[str, str]]
    """Name, letter and verdict of every organ of the answer."""
    asked: list[str]
    """The organs that the question asks for."""
    boxes: list[list[float]]
    """x1 y1 x2 y2 per organ, pixels."""
    milliseconds: float
    """From sending the request to having the answer."""
    overlay: str
    """The picture of the answer, below `demo`."""


def main(arguments: list[str] | None = None) -> int:
    """Runs the demo; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    parser.add_argument(
        "--release", type=Path, help="serve this release instead of exporting the default"
    )
    options = parser.parse_args(arguments)
    try:
        release = options.release or _export()
        manifest = verify_release(release)
        rows = list(_ask(release))
    except OrganSegError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    RESULTS.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n", encoding="utf-8")
    _print_table(rows, manifest)
    return 0


def _export() -> Path:
    from export.__main__ import main as export

    if export(["--preset", "tiny", "--out", str(RELEASE), "--replace"]):
        raise OrganSegError("the export failed; its message is above")
    return RELEASE


def _ask(release: Path) -> Iterator[Row]:
    OVERLAYS.mkdir(parents=True, exist_ok=True)
    LOG.parent.mkdir(parents=True, exist_ok=True)
    options = ServerOptions(grpc_port=0, http_port=0, metrics_port=0, log_file=LOG)
    print(f"starting Triton (log: {LOG}) …", file=sys.stderr)
    with (
        EmbeddedServer(release / MODELS_FOLDER, options, probe=EnsembleProbe()) as server,
        OrganSegClient(server.grpc_address) as client,
    ):
        answers = []
        for number, asked in enumerate(QUESTIONS, start=1):
            result = client.segment(SAMPLES / asked.image, asked.question)
            overlay = OVERLAYS / f"{number}_{Path(asked.image).stem}.png"
            answers.append((asked.question, result.overlay()))
            answers[-1][1].save(overlay)
            yield _row(asked, result, overlay)
    write_sheet(answers, OVERLAYS / SHEET)
    print("Triton stopped", file=sys.stderr)


def _row(asked: DemoQuestion, result: SegmentationResult, overlay: Path) -> Row:
    return Row(
        question=asked.question,
        kind=asked.kind,
        image=asked.image,
        verdict=result.verdict.value,
        organs=[
            {"name": organ.name, "letter": organ.letter, "verdict": organ.verdict.value}
            for organ in result.organs
        ],
        asked=list(asked.organs),
        boxes=[[round(float(edge), 1) for edge in box] for box in result.boxes],
        milliseconds=round(1000 * result.seconds, 1),
        overlay=str(overlay.relative_to(HERE)),
    )


def _print_table(rows: list[Row], manifest: Manifest) -> None:
    header = ("question", "verdict", "organ", "box (x1 y1 x2 y2)", "ms")
    lines = [
        (
            row.question,
            row.verdict,
            ", ".join(organ["name"] for organ in row.organs),
            "; ".join(" ".join(f"{edge:.0f}" for edge in box) for box in row.boxes if any(box)),
            f"{row.milliseconds:.0f}",
        )
        for row in rows
    ]
    widths = [max(len(line[column]) for line in (header, *lines)) for column in range(len(header))]
    for line in (header, tuple("-" * width for width in widths), *lines):
        print(
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        )
    print(f"\noverlays: {OVERLAYS}, together: {SHEET}\nresults:  {RESULTS}")
    if not manifest.trained:
        print(
            "\nThe weights are untrained: the flow is real, its answers mean nothing. "
            "See README.md, “How right it is”."
        )


if __name__ == "__main__":
    sys.exit(main())
