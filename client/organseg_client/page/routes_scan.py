"""Opening, showing and closing scans; the masks and files of their answers."""

from __future__ import annotations

import asyncio
import gzip
import io
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from organseg.errors import InvalidInputError
from organseg_client.page.files import AnswerFile, write_answer_file
from organseg_client.page.page_state import state_of
from organseg_client.page.scan import open_scan
from organseg_client.page.uploads import receive_files, suffix_of

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    from organseg_client.page.store import Session

__all__ = ["describe_session", "scan_routes"]


def scan_routes() -> list[Route]:
    """The routes of this module."""
    from starlette.routing import Route

    scan = "/api/scans/{scan}"
    answer = scan + "/answers/{number:int}"
    return [
        Route("/api/scans", _open, methods=["POST"]),
        Route(scan, _show, methods=["GET"]),
        Route(scan, _close, methods=["DELETE"]),
        Route(scan + "/image.nii", _image, methods=["GET"]),
        Route(answer + "/labels", _labels, methods=["GET"]),
        Route(answer + "/files/{file}", _file, methods=["GET"]),
    ]


def describe_session(session: Session) -> dict[str, object]:
    """A scan and its answers for the page."""
    return {
        "id": session.identity,
        **session.scan.to_dict(),
        "answers": [answer.to_dict() for answer in session.answers.values()],
    }


async def _open(request: Request) -> Response:
    from starlette.responses import JSONResponse

    page = state_of(request)
    folder = Path(tempfile.mkdtemp(dir=page.folder))
    try:
        received = await receive_files(request, folder, page.options.limits)
        async with page.reading:
            scan = await asyncio.to_thread(open_scan, received.paths, received.name)
        session = page.store.add(scan, folder)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return JSONResponse(describe_session(session), status_code=201)


async def _show(request: Request) -> Response:
    from starlette.responses import JSONResponse

    with state_of(request).store.using(request.path_params["scan"]) as session:
        return JSONResponse(describe_session(session))


async def _close(request: Request) -> Response:
    from starlette.responses import Response

    state_of(request).store.close(request.path_params["scan"])
    return Response(status_code=204)


async def _image(request: Request) -> Response:
    from starlette.responses import Response

    with state_of(request).store.using(request.path_params["scan"]) as session:
        content = await asyncio.to_thread(session.scan.nifti)
    return Response(content, media_type="application/octet-stream")


async def _labels(request: Request) -> Response:
    """Organ ids as bytes [H, W] or [Z, H, W], every `step`th row and column of what is shown."""
    from starlette.responses import Response

    with state_of(request).store.using(request.path_params["scan"]) as session:
        labels = session.answer(request.path_params["number"]).labels
        step = session.scan.step
        # Masks are mostly background: a hundredth is sent.
        content = await asyncio.to_thread(
            lambda: gzip.compress(labels[..., ::step, ::step].tobytes(), compresslevel=1)
        )
    return Response(
        content, media_type="application/octet-stream", headers={"content-encoding": "gzip"}
    )


async def _file(request: Request) -> Response:
    from starlette.responses import Response

    try:
        kind = AnswerFile(request.path_params["file"])
    except ValueError:
        kinds = ", ".join(each.value for each in AnswerFile)
        raise InvalidInputError(f"wanted one of {kinds}, came another name") from None
    with state_of(request).store.using(request.path_params["scan"]) as session:
        answer = session.answer(request.path_params["number"])
        stream = io.BytesIO()
        await asyncio.to_thread(write_answer_file, kind, session.scan, answer, stream)
    name = f"{_stem(session.scan.name)}_answer{answer.number}{kind.suffix}"
    return Response(
        stream.getvalue(),
        media_type=kind.media_type,
        headers={"content-disposition": f"attachment; filename*=UTF-8''{quote(name)}"},
    )


def _stem(name: str) -> str:
    return name[: len(name) - len(suffix_of(name))] or "organseg"
