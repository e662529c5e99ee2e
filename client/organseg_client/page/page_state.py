"""What all routes of the page share: options, client, open scans, and a folder for uploads."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from starlette.requests import Request

    from organseg_client.async_client import AsyncOrganSegClient
    from organseg_client.page.options import PageOptions
    from organseg_client.page.store import ScanStore

__all__ = ["PageState", "state_of"]


@dataclass(frozen=True)
class PageState:
    """One running page."""

    options: PageOptions
    """Where it listens, which servers it asks, how much it may hold."""
    client: AsyncOrganSegClient
    """Asks the servers."""
    store: ScanStore
    """The open scans."""
    folder: Path
    """Where uploads are kept while their scan is open; removed at the end."""
    reading: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while a scan is read: one at a time, since reading holds a scan twice."""


def state_of(request: Request) -> PageState:
    """The page that a request is for."""
    return cast("PageState", request.app.state.page)
