"""A peer that answers at once, and refuses what it is told to refuse."""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np

from organseg.imaging.encoding import encode_png

MASK = base64.b64encode(encode_png(np.zeros((4, 4), np.uint8))).decode()
ANSWER = json.dumps({"verdicts": ["segmented"], "boxes": [[0, 0, 1, 1]], "masks": [MASK]}).encode()


class Peer(ThreadingHTTPServer):
    """Answers requests with the statuses given, in turn, and keeps what it was sent."""

    daemon_threads = True

    def __init__(self, statuses: Sequence[int], answer: bytes = ANSWER) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.statuses = itertools.cycle(statuses)
        self.answer = answer
        self.bodies: list[bytes] = []
        self.connections = 0

    @property
    def address(self) -> str:
        """`HOST:PORT`."""
        return f"127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Peer

    def setup(self) -> None:
        super().setup()
        self.server.connections += 1

    def do_POST(self) -> None:
        self.server.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
        status = next(self.server.statuses)
        body = self.server.answer if status == 200 else b""
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass
