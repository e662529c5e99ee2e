"""The memory of `segment_volume` against the size of the scan, each in a process of its own.

The server is another process, so an answer made up on the spot takes its place: each slice gets
a mask of a quarter of its pixels. Measured are the process's own (anonymous) pages, sampled while
it works, and its resident set's peak (VmHWM), which also counts pages of files that the kernel may
take back at any time.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from benchmarks.volume_scans import SIDE, Storage, write_scan
from organseg.contract import CONTRACT_PARAMETER, CONTRACT_VERSION, Verdict
from organseg.errors import OrganSegError, ServerFaultError
from organseg.organs import ANSWERS, organ_by_name
from organseg.organs import ORGANS as ALL_ORGANS
from organseg_client import (
    InferenceRequest,
    InferenceResponse,
    ModelConfig,
    ModelStatistics,
    OrganSegClient,
    ResponseStream,
    ServerMetadata,
)
from organseg_client.tensors import (
    BOXES,
    MASKS,
    ORGAN_IDS,
    PRESENCE,
    QUALITY,
    SIMILARITY,
    VERDICTS,
)

_SAMPLE_S = 0.002
_MIB = 2**20


@dataclass(frozen=True)
class MemoryUse:
    """What one run took."""

    storage: str
    """How the scan is stored."""
    slices: int
    """How many slices it has."""
    volume_mib: float
    """Its voxels in the type in which the file has them, MiB."""
    own_mib: float
    """Peak of the process's own pages over that before the scan was opened, MiB."""
    resident_mib: float
    """Peak of its resident set, pages of files and the interpreter included, MiB."""
    seconds: float
    """Segmenting and writing."""


class _AnswersAtOnce:
    """A `Transport` that finds the liver in the same quarter of every slice."""

    def infer(self, request: InferenceRequest) -> InferenceResponse:
        low, high = SIDE // 4, 3 * SIDE // 4
        mask = np.zeros((1, 1, SIDE, SIDE))
        mask[..., low:high, low:high] = 1
        answer = {
            MASKS: mask,
            ORGAN_IDS: [[organ_by_name("liver").id]],
            VERDICTS: [[Verdict.SEGMENTED.value.encode()]],
            BOXES: [[[low, low, high, high]]],
            QUALITY: [[1]],
            SIMILARITY: np.zeros((1, len(ANSWERS))),
            PRESENCE: np.ones((1, len(ALL_ORGANS))),
        }
        outputs = {
            tensor.name: np.asarray(values, dtype=tensor.dtype.numpy)
            for tensor, values in answer.items()
        }
        return InferenceResponse(outputs=outputs, request_id=request.request_id)

    def stream(self, request: InferenceRequest) -> ResponseStream:
        raise ServerFaultError("wanted one answer, came a wish for a stream; none is made up")

    def model_config(self, model_name: str, deadline_s: float) -> ModelConfig:
        return ModelConfig(name=model_name, parameters={CONTRACT_PARAMETER: CONTRACT_VERSION})

    def is_ready(self, model_name: str, deadline_s: float) -> bool:
        return True

    def server_metadata(self, deadline_s: float) -> ServerMetadata:
        return ServerMetadata(name="none", version="none", extensions=())

    def statistics(self, deadline_s: float) -> tuple[ModelStatistics, ...]:
        return ()

    def close(self) -> None:
        pass


def measure_memory(storage: Storage, slices: int) -> MemoryUse:
    """Makes the scan and segments it in a fresh process; raises `OrganSegError` if that fails."""
    with tempfile.TemporaryDirectory(prefix="organseg-bench-") as folder:
        path = write_scan(Path(folder), storage, slices)
        command = [sys.executable, "-m", "benchmarks.volume_memory", str(path)]
        done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise ServerFaultError(
            f"wanted a volume of {slices} slices segmented, the process ended with "
            f"{done.returncode}: {done.stderr.strip().splitlines()[-1:]}"
        )
    measured = json.loads(done.stdout)
    bytes_a_voxel = 4 if storage is Storage.FLOAT else 2
    return MemoryUse(
        storage=storage.value,
        slices=slices,
        volume_mib=slices * SIDE * SIDE * bytes_a_voxel / _MIB,
        **measured,
    )


def memory_record(uses: list[MemoryUse]) -> list[dict[str, object]]:
    """The measurements as plain values for JSON."""
    return [asdict(use) for use in uses]


def memory_table(uses: list[MemoryUse]) -> list[str]:
    """The measurements as lines of a Markdown table."""
    return [
        "| stored as | slices | volume | own memory, peak | resident, peak | time |",
        "|---|--:|--:|--:|--:|--:|",
        *(
            f"| {use.storage} | {use.slices} | {use.volume_mib:.0f} MiB | {use.own_mib:.0f} MiB "
            f"| {use.resident_mib:.0f} MiB | {use.seconds:.1f} s |"
            for use in uses
        ),
    ]


def _status_mib(field: str) -> float:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0]) / 1024
    raise ServerFaultError(f"wanted {field} in /proc/self/status, the kernel does not give it")


@contextmanager
def _peak_of_own_pages() -> Iterator[list[float]]:
    """One number, the highest so far, MiB."""
    peak, is_over = [_status_mib("RssAnon")], threading.Event()

    def watch() -> None:
        while not is_over.wait(_SAMPLE_S):
            peak[0] = max(peak[0], _status_mib("RssAnon"))

    watching = threading.Thread(target=watch, daemon=True)
    watching.start()
    try:
        yield peak
    finally:
        is_over.set()
        watching.join()


def _segment(path: Path) -> dict[str, float]:
    import nibabel  # noqa: F401 (before the first reading: its code is no part of a scan)
    import pydicom  # noqa: F401

    started = time.perf_counter()
    before = _status_mib("RssAnon")
    with (
        _peak_of_own_pages() as peak,
        OrganSegClient(transport=_AnswersAtOnce()) as client,
        client.segment_volume(path, "Where is the liver?") as result,
    ):
        result.write_nifti(path.with_name("labels.nii.gz"))
        result.write_csv(path.with_name("verdicts.csv"))
    return {
        "own_mib": peak[0] - before,
        "resident_mib": _status_mib("VmHWM"),
        "seconds": time.perf_counter() - started,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Measure one scan, in this process.")
    parser.add_argument("scan", type=Path)
    try:
        print(json.dumps(_segment(parser.parse_args().scan)))
    except OrganSegError as error:
        sys.exit(str(error))
