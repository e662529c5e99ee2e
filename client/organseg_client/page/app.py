"""The page as an ASGI application: its routes, its guard, and what lives as long as it runs."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import organseg
from organseg.errors import OrganSegError
from organseg_client.page.access import AccessPolicy, Guard
from organseg_client.page.answers import organ_colours
from organseg_client.page.options import PageOptions
from organseg_client.page.page_state import PageState, state_of
from organseg_client.page.routes_ask import ask_routes
from organseg_client.page.routes_scan import scan_routes
from organseg_client.page.store import ScanStore
from organseg_client.page.words import describe

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp

    from organseg_client.page.scan import OpenScan

__all__ = ["build_app"]

STATIC = Path(__file__).parent / "static"
"""The page's own files."""

_JANITOR_PERIOD_S = 30.0


def build_app(options: PageOptions, first_scan: OpenScan | None = None) -> ASGIApp:
    """The page; `first_scan` is open from the start."""
    from starlette.applications import Starlette
    from starlette.routing import Mount, Route
    from starlette.staticfiles import StaticFiles

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with _running(options, first_scan) as page:
            app.state.page = page
            yield

    app = Starlette(
        routes=[
            Route("/", _index),
            Route("/api/page", _page_facts),
            *scan_routes(),
            *ask_routes(),
            Mount("/static", StaticFiles(directory=STATIC)),
        ],
        exception_handlers={OrganSegError: _tell, Exception: _tell},
        lifespan=lifespan,
    )
    return Guard(app, AccessPolicy(token=options.token))


@contextlib.asynccontextmanager
async def _running(options: PageOptions, first_scan: OpenScan | None) -> AsyncIterator[PageState]:
    """Client, store, folder and janitor of a page, from start to stop."""
    from organseg_client.async_client import AsyncOrganSegClient

    store = ScanStore(options.limits)
    if first_scan is not None:
        store.add_first(first_scan)
    with tempfile.TemporaryDirectory(prefix="organseg-page-") as folder:
        client = AsyncOrganSegClient(
            list(options.servers), deadline_s=options.deadline_s, options=options.connection
        )
        async with client:
            janitor = asyncio.create_task(_close_idle_scans(store))
            try:
                yield PageState(options, client, store, Path(folder))
            finally:
                janitor.cancel()
                store.close_all()


async def _close_idle_scans(store: ScanStore) -> None:
    while True:
        await asyncio.sleep(_JANITOR_PERIOD_S)
        store.close_idle()


async def _index(request: Request) -> Response:
    from starlette.responses import FileResponse

    return FileResponse(STATIC / "index.html", media_type="text/html; charset=utf-8")


async def _page_facts(request: Request) -> Response:
    from starlette.responses import JSONResponse

    page = state_of(request)
    first = page.store.first
    return JSONResponse(
        {
            "version": organseg.__version__,
            "servers": list(page.options.servers),
            "organs": organ_colours(),
            "first_scan": None if first is None else first.identity,
            "upload_bytes": page.options.limits.upload_bytes,
            "upload_files": page.options.limits.upload_files,
        }
    )


async def _tell(request: Request, error: Exception) -> Response:
    from starlette.responses import JSONResponse

    problem = describe(error, state_of(request).options.servers)
    return JSONResponse(problem.to_dict(), status_code=problem.status)
