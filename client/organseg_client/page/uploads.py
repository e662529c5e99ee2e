"""Files that a browser sends, into a folder of their own: bounded, under names of ours."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, BinaryIO

from organseg.errors import InvalidInputError
from organseg_client.page.words import TooLargeError

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import Message

    from organseg_client.page.options import PageLimits

__all__ = ["ReceivedFiles", "receive_files", "suffix_of"]

_MIB = 2**20

# The longest of those that fit comes first.
_SUFFIXES = (".nii.gz", ".nii", ".dcm", ".png", ".jpg", ".jpeg", ".npy")


@dataclass(frozen=True)
class ReceivedFiles:
    """What one upload brought."""

    paths: tuple[Path, ...]
    """The files, in the order they came; numbered, with the suffix of their own names."""
    name: str
    """What the user calls it: the first file's name, or the folder's."""


async def receive_files(request: Request, folder: Path, limits: PageLimits) -> ReceivedFiles:
    """Writes the files of a multipart request (field `files`) into `folder`.

    Names are never used as paths. Raises `TooLargeError` beyond `limits`, before the rest is
    read, and `InvalidInputError` for a body that is no form.
    """
    import anyio
    from starlette.datastructures import UploadFile
    from starlette.exceptions import HTTPException

    _check_declared(request, limits)
    bounded = _bounded(request, limits)
    try:
        form = await bounded.form(max_files=limits.upload_files, max_fields=8)
    except HTTPException as error:
        if "Too many files" in str(error.detail):
            raise TooLargeError(
                f"wanted at most {limits.upload_files} files, came more; choose one series"
            ) from error
        raise InvalidInputError(
            f"wanted the files of a form, came something else: {error.detail}; "
            "send multipart/form-data"
        ) from error
    try:
        sent = [part for part in form.getlist("files") if isinstance(part, UploadFile)]
        paths = []
        for index, part in enumerate(sent):
            path = folder / f"{index:05d}{suffix_of(part.filename or '')}"
            await anyio.to_thread.run_sync(_write, part.file, path)
            paths.append(path)
        return ReceivedFiles(tuple(paths), _name_of([part.filename or "" for part in sent]))
    finally:
        await form.close()


def _check_declared(request: Request, limits: PageLimits) -> None:
    declared = request.headers.get("content-length", "0")
    if declared.isdecimal() and int(declared) > limits.upload_bytes:
        raise _too_many_bytes(limits)


def _bounded(request: Request, limits: PageLimits) -> Request:
    """The same request, which ends in `TooLargeError` once its body is longer than allowed."""
    from starlette.requests import Request

    received_bytes = 0

    async def receive() -> Message:
        nonlocal received_bytes
        message = await request.receive()
        received_bytes += len(message.get("body", b""))
        if received_bytes > limits.upload_bytes:
            raise _too_many_bytes(limits)
        return message

    return Request(request.scope, receive)


def _too_many_bytes(limits: PageLimits) -> TooLargeError:
    return TooLargeError(
        f"wanted files of at most {limits.upload_bytes // _MIB} MiB together, came more; "
        "crop or resample the scan, or choose one series"
    )


def _write(source: BinaryIO, path: Path) -> None:
    with path.open("wb") as file:
        shutil.copyfileobj(source, file)


def suffix_of(name: str) -> str:
    """The suffixes that tell formats apart, and no other text of the user's."""
    lower = name.lower()
    return next((known for known in _SUFFIXES if lower.endswith(known)), "")


def _name_of(names: list[str]) -> str:
    """One file's own name; for several the folder that holds them, where the browser says."""
    if not names:
        return ""
    first = PurePosixPath(names[0].replace("\\", "/"))
    if len(names) == 1:
        return first.name
    return first.parent.name or f"{len(names)} files"
