"""`python -m benchmarks perf-input`: the input file from which `perf_analyzer` feeds the ensemble.

The requests are those that the client would send, so names and shapes are the contract's. The
file's format: a list of requests, each a dictionary from input to shape (without batch) and
content; BYTES elements are base64 of their bytes behind a 4-byte little-endian length.
Source: perf_analyzer's documentation, "Input Data"; the length was found by trial (2.45.0).
"""

from __future__ import annotations

import argparse
import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tritonclient.utils import serialize_byte_tensor

from benchmarks.options import add_workload_options
from benchmarks.record import RecordError
from benchmarks.workload import Question, Workload, make_workload
from organseg_client.deadline import DEFAULT_DEADLINE_S
from organseg_client.images import encode_image
from organseg_client.request import build_request, encode_question


def input_document(workload: Workload) -> dict[str, Any]:
    """The workload as plain values for JSON, one entry of `data` per question."""
    return {"data": [_entry(question) for question in workload.questions]}


def write_input(path: Path, workload: Workload) -> None:
    """Writes the input file, making its folder; raises `RecordError` where that fails."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(input_document(workload)) + "\n", encoding="ascii")
    except OSError as error:
        raise RecordError(
            f"wanted to write {path.name!r}, the system says {error.strerror}: name another file"
        ) from None


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `perf-input`."""
    parser = commands.add_parser(
        "perf-input",
        help="write the input file for perf_analyzer",
        description="Write the JSON that `perf_analyzer -m organ_seg --input-data FILE` takes.",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the file to write")
    add_workload_options(parser, requests=32, doc="distinct requests in it")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Writes the file and prints its name; raises `OrganSegError`."""
    workload = make_workload(
        options.requests, options.images, texts=options.questions, seed=options.seed
    )
    write_input(options.out, workload)
    print(options.out)
    return 0


def _entry(question: Question) -> dict[str, Any]:
    request = build_request(
        encode_image(question.image),
        encode_question(question.text),
        DEFAULT_DEADLINE_S,
        request_id="perf-input",
    )
    return {name: _content(array) for name, array in request.inputs.items()}


def _content(array: NDArray[Any]) -> dict[str, Any]:
    """One input without its batch axis; all that the client sends here are BYTES."""
    serialised: NDArray[np.object_] = serialize_byte_tensor(array)
    return {
        "content": {"b64": base64.b64encode(serialised.item()).decode("ascii")},
        "shape": list(array.shape[1:]),
    }
