"""The page as a process of its own, as `organseg-client ui` runs it, and plain HTTP to ask it."""

from __future__ import annotations

import contextlib
import http.client
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

NOBODY = "127.0.0.1:9"
"""An address at which no server listens."""

_PROGRAM = """
from organseg_client.page.options import PageLimits, PageOptions
from organseg_client.page.serving import serve_page
serve_page(PageOptions({options}), lambda url: print(url, flush=True))
"""


@dataclass(frozen=True)
class Page:
    """A running page."""

    url: str
    """The address that it printed."""

    @property
    def address(self) -> tuple[str, int]:
        parts = urlsplit(self.url)
        return parts.hostname or "", parts.port or 0

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | dict[str, Any] | None = None,
        **headers: str,
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers (lower case) and body of one request; `_` in header names is `-`."""
        sent = json.dumps(body).encode() if isinstance(body, dict) else body
        connection = http.client.HTTPConnection("127.0.0.1", self.address[1], timeout=60)
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, sent, named)
            answer = connection.getresponse()
            got = {name.lower(): value for name, value in answer.getheaders()}
            return answer.status, got, answer.read()
        finally:
            connection.close()

    def upload(self, *files: tuple[str, bytes]) -> tuple[int, dict[str, Any]]:
        """Opens files (name, content); gives status and answer."""
        boundary = "----organsegtest"
        parts = [
            f'--{boundary}\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n".encode()
            + content
            + b"\r\n"
            for name, content in files
        ]
        body = b"".join(parts) + f"--{boundary}--\r\n".encode()
        content_type = f"multipart/form-data; boundary={boundary}"
        status, _, answer = self.ask("POST", "/api/scans", body, content_type=content_type)
        return status, json.loads(answer)


@contextlib.contextmanager
def running_page(options: str) -> Iterator[Page]:
    """A page of `PageOptions(…)`, its arguments as Python text; stopped at the end."""
    with _process([sys.executable, "-c", _PROGRAM.format(options=options)]) as process:
        yield Page(_first_line(process).strip())


@contextlib.contextmanager
def running_command(*arguments: str) -> Iterator[Page]:
    """A page of `organseg-client ui …`."""
    command = [sys.executable, "-m", "organseg_client", "ui", "--no-browser", *arguments]
    with _process(command) as process:
        yield Page(_first_line(process).split()[-1])


@contextlib.contextmanager
def _process(command: list[str]) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(timeout=30)
        assert process.stdout is not None
        process.stdout.close()


def _first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, f"the page ended with {process.wait(timeout=30)} before it printed its address"
    return line
