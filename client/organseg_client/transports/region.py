"""A piece of memory that another process of this machine can map by its name.

Not `multiprocessing.shared_memory`: that sets no memory aside, so that a full /dev/shm ends
whoever writes first, and that is the server; it also starts a process to watch over names, which
here last no longer than it takes the server to open them.
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import secrets
from pathlib import Path

__all__ = ["Region"]

_FOLDER = Path("/dev/shm")
_PREFIX = "organseg-client-"


class Region:
    """Shared memory of `size` bytes, for processes of the same user.

    Raises `OSError` where this system has no such memory, or has not enough left.
    """

    def __init__(self, size: int) -> None:
        if not hasattr(os, "posix_fallocate") or not _FOLDER.is_dir():
            raise OSError(errno.ENOSYS, "no POSIX shared memory here")
        self.size = size
        # Random, so that clients of one machine never meet.
        self.name = f"{_PREFIX}{secrets.token_hex(8)}"
        file = os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(file, 0, size)
            self._memory = mmap.mmap(file, size)
        except BaseException:
            self.hide()
            raise
        finally:
            os.close(file)

    @property
    def key(self) -> str:
        """Its name for `shm_open`."""
        return f"/{self.name}"

    @property
    def _path(self) -> Path:
        return _FOLDER / self.name

    def view(self, offset: int, size: int) -> memoryview:
        """A part of it; used no more once the region is closed."""
        return memoryview(self._memory)[offset : offset + size]

    def hide(self) -> None:
        """Takes its name away: whoever has mapped it keeps it, nobody else can find it."""
        self._path.unlink(missing_ok=True)

    def close(self) -> None:
        """Lets go of it on this side; a second call does nothing."""
        # What still looks at it keeps it mapped until it goes, too.
        with contextlib.suppress(BufferError):
            self._memory.close()
