"""The real Triton with flags that the embedded server does not offer: TLS."""

from __future__ import annotations

import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from organseg.serving.embedded import ServerOptions
from organseg.serving.embedded.installation import (
    find_installation,
    link_backends,
    link_libraries,
)
from organseg.serving.embedded.invocation import server_command, server_environment
from organseg.serving.embedded.ports import claim_endpoints


@contextmanager
def serving(repository: Path, folder: Path, *flags: str) -> Iterator[int]:
    """Starts Triton with these flags; gives its gRPC port once its models are loaded."""
    folder.mkdir()
    options = ServerOptions(grpc_port=0, http_port=0, metrics_port=0, stop_timeout_s=1)
    installation = find_installation()
    endpoints = claim_endpoints(options)
    command = server_command(
        installation,
        repository,
        link_backends(installation, folder),
        endpoints,
        options,
        f"organseg-test-{endpoints.grpc_port}",
    )
    environment = server_environment(installation, link_libraries(installation, folder), options)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([*command, *flags], env=environment, stdout=log, stderr=log)
    try:
        _wait(process, f"http://127.0.0.1:{endpoints.http_port}/v2/health/ready", folder / "log")
        yield endpoints.grpc_port
    finally:
        process.terminate()
        process.wait(30)


def _wait(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    give_up = time.monotonic() + 60
    # No proxy: the server is on this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while True:
        try:
            with opener.open(url, timeout=5):
                return
        except urllib.error.URLError:
            assert time.monotonic() < give_up, log.read_text()
        try:
            process.wait(0.05)
        except subprocess.TimeoutExpired:
            continue
        raise AssertionError(log.read_text())
