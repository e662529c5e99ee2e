"""Running an entry point as its container would, and asking the server that it starts."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from docker_context import DOCKER
from tritonclient import grpc
from tritonclient.utils import InferenceServerException

from organseg.errors import OrganSegError
from organseg.serving.embedded import EnsembleProbe

CONFINED_SCRATCH = "/mnt"
"""The folder for scratch files of a confined program: empty, and no program may lie in it."""
DEADLINE_S = 90.0
_LOOK_EVERY_S = 0.1


def run_entry(
    name: str, environment: dict[str, str], *arguments: object, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs an entry point to its end."""
    return subprocess.run(
        [DOCKER / name, *map(str, arguments)],
        env=environment,
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
    )


@contextmanager
def started(
    head: Sequence[str], name: str, environment: dict[str, str], *arguments: object
) -> Iterator[subprocess.Popen[str]]:
    """Starts an entry point behind `head`; kills it where the block did not end it."""
    with subprocess.Popen(
        [*head, DOCKER / name, *map(str, arguments)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_for_answer(address: str, process: subprocess.Popen[str]) -> None:
    """Returns once the server has answered a question."""
    deadline = time.monotonic() + DEADLINE_S
    while True:
        try:
            return EnsembleProbe(timeout_s=10)(address)
        except OrganSegError:
            assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < deadline, "no answer before the deadline"
        time.sleep(_LOOK_EVERY_S)


def opens_admin_calls(address: str, key: str | None) -> bool:
    """Whether the server lists its model repository for somebody with this key."""
    headers = {} if key is None else {"triton-grpc-protocol-organseg-admin-key": key}
    client: Any = grpc.InferenceServerClient(address, channel_args=[("grpc.enable_http_proxy", 0)])
    try:
        return bool(client.get_model_repository_index(headers=headers).models)
    except InferenceServerException as error:
        if "organseg-admin-key" not in str(error):
            raise
        return False
    finally:
        client.close()


def write_program(path: Path, script: str) -> None:
    """A shell program."""
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
