"""The load process: `python -m benchmarks.load.process`, with a job as JSON on its input.

It tells, a JSON document a line on its output, the progress, the edges of the window and every
sample. With `HOST:PORT` as an argument it is a worker of the load process that listens there.
Nothing may be imported before gevent has patched the standard library and gRPC: without it users
of gRPC ask one after the other, and each reports as if they had asked at once.
"""

from __future__ import annotations

from gevent import monkey  # type: ignore[import-untyped]

monkey.patch_all()

import grpc.experimental.gevent as grpc_gevent  # noqa: E402

grpc_gevent.init_gevent()

import json  # noqa: E402
import os  # noqa: E402
import sys  # noqa: E402
from typing import Any  # noqa: E402

from benchmarks.load.conductor import LoadFailure, conduct, read_job, work  # noqa: E402
from organseg.errors import OrganSegError  # noqa: E402


def main() -> int:
    """Runs a job or a worker; the exit status."""
    if len(sys.argv) > 1:
        work(sys.argv[1])
        return 0
    # What libraries print must not come between the lines.
    output = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def emit(document: dict[str, Any]) -> None:
        output.write(json.dumps(document) + "\n")
        output.flush()

    try:
        conduct(*read_job(json.loads(sys.stdin.readline())), emit)
    except (LoadFailure, OrganSegError) as error:
        emit({"event": "failed", "class": type(error).__name__, "message": str(error)})
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
