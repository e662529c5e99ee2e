"""Certificates for a test: an authority, and what it signs, made by the command `openssl`."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


@dataclass(frozen=True)
class Certificate:
    """A certificate and its key, as PEM files."""

    certificate: Path
    key: Path


class Authority:
    """Signs certificates; its own lies beside them."""

    def __init__(self, folder: Path, name: str) -> None:
        if shutil.which("openssl") is None:
            pytest.skip("the command openssl is not on this machine")
        self._folder = folder
        self.own = self._files(name)
        _openssl(
            "req", "-x509", *_KEY, *self._out(self.own), "-days", "2",
            "-subj", f"/CN={name}", "-addext", "basicConstraints=critical,CA:TRUE",
        )  # fmt: skip

    def sign(self, name: str, addresses: str) -> Certificate:
        """A certificate for addresses such as `DNS:localhost,IP:127.0.0.1`."""
        files = self._files(name)
        _openssl(
            "req", "-x509", *_KEY, *self._out(files), "-days", "2",
            "-CA", self.own.certificate, "-CAkey", self.own.key,
            "-subj", f"/CN={name}", "-addext", f"subjectAltName={addresses}",
            "-addext", "basicConstraints=critical,CA:FALSE",
        )  # fmt: skip
        return files

    def _files(self, name: str) -> Certificate:
        return Certificate(self._folder / f"{name}.pem", self._folder / f"{name}.key")

    def _out(self, files: Certificate) -> tuple[object, ...]:
        return "-keyout", files.key, "-out", files.certificate


def _openssl(*arguments: object) -> None:
    done = subprocess.run(
        ["openssl", *map(str, arguments)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
