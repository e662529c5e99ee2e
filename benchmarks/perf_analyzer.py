"""NVIDIA's `perf_analyzer`: the C++ load generator, fetched, made to start, and run.

The wheel `tritonclient` 2.45.0 carries it. It wants `libb64.so.0d` and `libcudart.so.12`, which
Python environments do not have under these names, but the wheel of the embedded server has
under others; links with the wanted names, in a folder of their own, serve it without a package
of the operating system.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.workload import REPO_ROOT
from organseg.contract import ENSEMBLE_NAME
from organseg.errors import OrganSegError, ServerStartError
from organseg.serving.embedded.installation import find_installation

REQUIREMENT = "tritonclient==2.45.0"
DEFAULT_FOLDER = REPO_ROOT / "build" / "perf_analyzer"

_PROGRAM = Path("bin", "perf_analyzer")
_LIBRARIES = {"libb64.so.0d": "libb64-*.so.0d", "libcudart.so.12": "libcudart-*.so.12*"}
"""The name that the program wants, and how the embedded server's wheel names the same library."""

# What pip says when no index answered; "none" also where one answered that has no such package.
_NO_INDEX = re.compile(
    r"from versions: none|Failed to establish|Max retries|timed out|name resolution|Retrying"
)
_UNSTABLE_STATUS = 2
_LAST_LINES = 3


class PerfAnalyzerError(OrganSegError):
    """`perf_analyzer` cannot be installed or started, or its measurement failed."""


class PerfAnalyzerUnreachableError(PerfAnalyzerError):
    """pip found no package index that offers `perf_analyzer`: most often, no network."""


@dataclass(frozen=True)
class Level:
    """What `perf_analyzer` measured with so many users at once."""

    concurrency: int
    """Users that ask at once, each one request at a time."""
    requests: int
    """Requests completed in the measurement."""
    requests_per_second: float
    """Their rate."""
    p50_ms: float
    """Their median latency, milliseconds."""
    p95_ms: float
    """The latency that 95 of 100 keep within."""
    p99_ms: float
    """The latency that 99 of 100 keep within."""


@dataclass(frozen=True)
class Measurement:
    """How `perf_analyzer` is to measure."""

    concurrency: str = "1:1:1"
    """`FIRST:LAST:STEP` of the users at once."""
    window_requests: int = 50
    """Requests in one measurement window; three windows must agree."""
    stability_percent: float = 25.0
    """How far the three may differ in rate and latency."""
    trials: int = 10
    """Windows at each concurrency before it gives up."""
    more: tuple[str, ...] = ()
    """Further arguments, as they are."""


def ensure_perf_analyzer(folder: Path = DEFAULT_FOLDER) -> Path:
    """The program below `folder`, installed by pip where it is not there yet.

    Raises:
        PerfAnalyzerUnreachableError: pip found no index that has it.
        PerfAnalyzerError: pip failed otherwise, or the wheel for this machine lacks the program.
    """
    program = folder / _PROGRAM
    if program.is_file():
        return program
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (
        # Who comes second waits, and finds it there.
        _locked(folder.parent),
        tempfile.TemporaryDirectory(prefix=f"{folder.name}-", dir=folder.parent) as temporary,
    ):
        if program.is_file():
            return program
        fetched = Path(temporary, "wheel")
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--retries=2"]
        done = subprocess.run(
            [*command, "--target", str(fetched), REQUIREMENT], capture_output=True, text=True
        )
        if done.returncode != 0:
            raise _pip_failure(done.stdout + done.stderr)
        if not (fetched / _PROGRAM).is_file():
            raise PerfAnalyzerError(
                f"wanted perf_analyzer in {REQUIREMENT}, its wheel for this machine has none: "
                "run it on Linux on x86-64"
            )
        # At once or not at all: a fetch that was cut off leaves nothing that looks whole.
        shutil.rmtree(folder, ignore_errors=True)
        fetched.rename(folder)
    return program


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """A folder held by one process at a time; the system lets go of it where that ends."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


@contextmanager
def program_environment() -> Iterator[dict[str, str]]:
    """The environment in which the program starts; its links are gone after the block."""
    environment = dict(os.environ)
    with tempfile.TemporaryDirectory(prefix="organseg-perf-analyzer-") as temporary:
        folder = Path(temporary)
        for wanted, library in _find_libraries().items():
            (folder / wanted).symlink_to(library)
        others = environment.get("LD_LIBRARY_PATH")
        environment["LD_LIBRARY_PATH"] = os.pathsep.join(filter(None, (temporary, others)))
        yield environment


def run_perf_analyzer(
    program: Path,
    address: str,
    input_file: Path,
    measurement: Measurement,
    echo: Callable[[str], object] = sys.stdout.write,
) -> tuple[Level, ...]:
    """Drives the ensemble at `HOST:PORT` over gRPC; gives one level per concurrency.

    Every line that the program prints goes to `echo` as it comes.

    Raises:
        PerfAnalyzerError: the program does not start, a request failed, or the windows never
            agreed. The program ends at the first request that fails, so levels have none.
    """
    command = [
        *(str(program), "-m", ENSEMBLE_NAME, "-u", address, "-i", "grpc"),
        *("--input-data", str(input_file), "--concurrency-range", measurement.concurrency),
        *("--measurement-mode", "count_windows"),
        *("--measurement-request-count", str(measurement.window_requests)),
        *("--stability-percentage", f"{measurement.stability_percent:g}"),
        *("--max-trials", str(measurement.trials), *measurement.more),
    ]
    lines: list[str] = []
    try:
        with (
            program_environment() as environment,
            subprocess.Popen(
                command,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
            ) as process,
        ):
            for line in process.stdout or ():
                lines.append(line)
                echo(line)
    except OSError as error:
        raise PerfAnalyzerError(
            f"wanted to start perf_analyzer, the system says {error.strerror}: remove "
            f"{DEFAULT_FOLDER.relative_to(REPO_ROOT)} and try again"
        ) from None
    if process.returncode != 0:
        raise _run_failure(process.returncode, lines)
    return read_levels("".join(lines))


def read_levels(output: str) -> tuple[Level, ...]:
    """The levels in what `perf_analyzer` printed; raises `PerfAnalyzerError` without any."""
    levels = []
    for block in re.split(r"^Request concurrency: ", output, flags=re.MULTILINE)[1:]:
        concurrency = re.match(r"\d+", block)
        requests = re.search(r"Request count: (\d+)", block)
        rate = re.search(r"Throughput: ([\d.]+) infer/sec", block)
        # The mean is not printed where a percentile is asked for; these always are.
        p50, p95, p99 = (re.search(rf"p{p} latency: (\d+) usec", block) for p in (50, 95, 99))
        if concurrency and requests and rate and p50 and p95 and p99:
            latencies_ms = [int(found[1]) / 1e3 for found in (p50, p95, p99)]
            levels.append(
                Level(int(concurrency[0]), int(requests[1]), float(rate[1]), *latencies_ms)
            )
    if not levels:
        raise PerfAnalyzerError(
            "wanted results, perf_analyzer printed none: see what it printed, and whether the "
            "further arguments are ones that it takes"
        )
    return tuple(levels)


def _find_libraries() -> dict[str, Path]:
    try:
        folder = find_installation().libraries
    except ServerStartError:
        # The system may have them; if not, the program says which one it lacks.
        return {}
    found = {wanted: sorted(folder.glob(pattern)) for wanted, pattern in _LIBRARIES.items()}
    return {wanted: paths[0] for wanted, paths in found.items() if paths}


def _pip_failure(output: str) -> PerfAnalyzerError:
    if _NO_INDEX.search(output):
        return PerfAnalyzerUnreachableError(
            f"wanted {REQUIREMENT} from a package index, pip reached none that has it: connect to "
            "a network, or name a mirror in PIP_INDEX_URL"
        )
    return PerfAnalyzerError(
        f"wanted {REQUIREMENT} installed, pip failed ({_last_lines(output.splitlines())}): "
        "mend what it names"
    )


def _run_failure(status: int, lines: Sequence[str]) -> PerfAnalyzerError:
    said = _last_lines(lines)
    if "error while loading shared libraries" in said:
        remedy = (
            'install the embedded server (`pip install "organseg[serve]"`), whose wheel has '
            "libb64 and libcudart; the rest is OpenSSL 3 of the system"
        )
    elif status == _UNSTABLE_STATUS:
        remedy = (
            "keep the machine quiet, or allow more with --stability, --trials or --window-requests"
        )
    else:
        remedy = "see what it says, and the server's log"
    return PerfAnalyzerError(
        f"wanted a measurement, perf_analyzer ended with status {status} ({said}): {remedy}"
    )


def _last_lines(lines: Sequence[str]) -> str:
    told = [line.strip() for line in lines if line.strip()]
    return " ".join(told[-_LAST_LINES:]) or "it said nothing"
