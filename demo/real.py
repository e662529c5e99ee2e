"""`python -m demo.real`: asks a served release about a real scan, and writes one picture of it.

The scan is the TotalSegmentator test CT (Apache-2.0) in shared/data beside the checkout: a scan
that nothing was trained on.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from demo.sheet import write_sheet
from organseg.errors import OrganSegError
from organseg.serving.embedded import EmbeddedServer, EnsembleProbe, ServerOptions
from organseg.serving.manifest import MODELS_FOLDER, verify_release
from organseg_client import OrganSegClient

_ROOT = Path(__file__).resolve().parents[1]
_SCAN = _ROOT.parent / "shared" / "data" / "ts_ct" / "image.nii.gz"

QUESTIONS: tuple[tuple[int, str], ...] = (
    (85, "Segment the liver."),
    (88, "Show me the spleen."),
    (76, "Outline the right kidney and the left kidney."),
    (80, "Which organ stores bile?"),
    (80, "Which vessel carries oxygen-rich blood down to the legs?"),
    (80, "Where is the inferior vena cava?"),
    (30, "Where is the liver?"),
    (85, "Which organ is responsible for breathing?"),
)
"""Slices, counted from the feet, and what is asked about them."""


def main(arguments: list[str] | None = None) -> int:
    """Asks, prints and draws; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m demo.real", description=__doc__)
    parser.add_argument("--release", type=Path, default=_ROOT / "build" / "releases" / "tiny")
    parser.add_argument("--scan", type=Path, default=_SCAN, help="a NIfTI file")
    parser.add_argument("--out", type=Path, default=_ROOT / "docs" / "images" / "real_ct.png")
    options = parser.parse_args(arguments)
    try:
        verify_release(options.release)
        _ask(options.release, options.scan, options.out)
    except OrganSegError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    return 0


def _ask(release: Path, scan: Path, out: Path) -> None:
    ports = ServerOptions(grpc_port=0, http_port=0, metrics_port=0)
    answers = []
    with (
        EmbeddedServer(release / MODELS_FOLDER, ports, probe=EnsembleProbe()) as server,
        OrganSegClient(server.grpc_address) as client,
    ):
        for index, question in QUESTIONS:
            result = client.segment(scan, question, slice_index=index)
            print(f"slice {index:3d}  {question:55s} {result.reason}")
            answers.append((f"{question} (slice {index})", result.overlay()))
    write_sheet(answers, out)
    print(out)


if __name__ == "__main__":
    sys.exit(main())
