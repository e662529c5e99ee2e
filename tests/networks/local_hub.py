"""A hub on this machine: the few endpoints that huggingface_hub asks, and ways to go wrong."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlparse

LARGE_BYTES = 1000
"""From this size on, a file is large: the hub then knows its sha256."""


@dataclass
class Model:
    """A model that the hub has."""

    files: dict[str, bytes]
    licence: str | None = None
    is_gated: bool = False

    @property
    def revision(self) -> str:
        """The commit: it follows from what the files hold."""
        digest = hashlib.sha1()
        for name in sorted(self.files):
            digest.update(name.encode() + hashlib.sha256(self.files[name]).digest())
        return digest.hexdigest()


@dataclass
class LocalHub:
    """What the server knows, does wrong, and was asked."""

    models: dict[str, Model]
    endpoint: str = ""
    breaks_at: dict[str, int] = field(default_factory=dict)
    """Of these files, by name, so many bytes are sent; then the line breaks, and stays broken."""
    spoils: set[str] = field(default_factory=set)
    """Of these files, other bytes of the same number are sent."""
    ignores_ranges: bool = False
    sent: list[tuple[str, str | None]] = field(default_factory=list)
    """File and Range of every download."""
    broken: set[str] = field(default_factory=set)

    def mend(self) -> None:
        """The line is whole again."""
        self.breaks_at.clear()
        self.broken.clear()
        self.sent.clear()


@contextmanager
def serve(hub: LocalHub) -> Iterator[LocalHub]:
    """Serves the hub on a free port of this machine."""

    class Handler(_Handler):
        known = hub

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    known: LocalHub

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, *, with_body: bool) -> None:
        path = unquote(urlparse(self.path).path)
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/(revision|tree)/([^/]+))?", path):
            model = self.known.models.get(found[1])
            if model is None:
                self._refuse(401, "RepoNotFound")
            elif found[3] not in (None, "main", model.revision):
                self._refuse(404, "RevisionNotFound")
            elif found[2] == "tree":
                self._json(_tree(model))
            else:
                self._json(_information(found[1], model))
            return
        found = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/([^/]+)", path)
        model = self.known.models.get(found[1]) if found else None
        if found is None or model is None:
            self._refuse(404, "RepoNotFound")
        elif model.is_gated:
            self._refuse(403, "GatedRepo")
        elif found[3] not in model.files:
            self._refuse(404, "EntryNotFound")
        else:
            self._file(model, found[3], with_body=with_body)

    def _file(self, model: Model, name: str, *, with_body: bool) -> None:
        hub, content = self.known, model.files[name]
        if with_body and name in hub.broken:
            self._refuse(503, None)
            return
        asked = self.headers.get("Range")
        begin = 0
        if asked and not hub.ignores_ranges:
            begin = int(asked.removeprefix("bytes=").split("-")[0])
        body = bytes(len(content)) if name in hub.spoils else content
        body = body[begin:]
        self.send_response(206 if begin else 200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Repo-Commit", model.revision)
        self.send_header("ETag", f'"{_etag(content)}"')
        if begin:
            self.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        if not with_body:
            return
        hub.sent.append((name, asked))
        if name in hub.breaks_at:
            self.wfile.write(body[: hub.breaks_at[name]])
            self.wfile.flush()
            hub.broken.add(name)
            self.close_connection = True
            return
        self.wfile.write(body)

    def _json(self, document: object) -> None:
        body = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _refuse(self, status: int, code: str | None) -> None:
        self.send_response(status)
        if code:
            self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()


def _etag(content: bytes) -> str:
    if len(content) >= LARGE_BYTES:
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()


def _large(content: bytes) -> dict[str, object] | None:
    if len(content) < LARGE_BYTES:
        return None
    sha256 = hashlib.sha256(content).hexdigest()
    return {"sha256": sha256, "oid": sha256, "size": len(content), "pointerSize": 134}


def _information(hub_id: str, model: Model) -> dict[str, object]:
    siblings = [
        {
            "rfilename": name,
            "size": len(content),
            "blobId": _etag(content),
            **({"lfs": _large(content)} if _large(content) else {}),
        }
        for name, content in model.files.items()
    ]
    card = {"license": model.licence} if model.licence else {}
    return {
        "id": hub_id,
        "sha": model.revision,
        "siblings": siblings,
        "cardData": card,
        "tags": [],
        "private": False,
        "gated": "manual" if model.is_gated else False,
    }


def _tree(model: Model) -> list[dict[str, object]]:
    return [
        {
            "type": "file",
            "path": name,
            "size": len(content),
            "oid": _etag(content),
            **({"lfs": _large(content)} if _large(content) else {}),
        }
        for name, content in model.files.items()
    ]
