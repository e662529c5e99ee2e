"""Runs the page: binds the socket, prints the address, opens the browser, serves until stopped."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import webbrowser
from collections.abc import Callable

from organseg.errors import InvalidInputError
from organseg_client.page.options import PageOptions
from organseg_client.page.scan import OpenScan, open_scan

__all__ = ["page_url", "serve_page"]


def serve_page(options: PageOptions, announce: Callable[[str], None]) -> None:
    """Serves the page until Ctrl-C; calls `announce` with its address once it accepts requests.

    Raises `InvalidInputError` where the address cannot be listened at, `ImageError` for a first
    scan that cannot be read, and `OrganSegError` without the extra `ui`.
    """
    try:
        import uvicorn

        from organseg_client.page.app import build_app
    except ImportError as error:
        raise InvalidInputError(
            "wanted Starlette and uvicorn for the page, came an installation without them; "
            "pip install 'organseg[ui]'"
        ) from error
    first_scan = _first_scan(options)
    with contextlib.closing(_listen(options)) as listening:
        port = listening.getsockname()[1]

        class Server(uvicorn.Server):
            async def startup(self, sockets: list[socket.socket] | None = None) -> None:
                await super().startup(sockets)
                if self.started:
                    announce(page_url(options, port))

        app = build_app(options, first_scan)
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=3,
            lifespan="on",
        )
        Server(config).run(sockets=[listening])


def page_url(options: PageOptions, port: int) -> str:
    """The address to open, with the token where there is one."""
    host = options.host
    with contextlib.suppress(ValueError):
        address = ipaddress.ip_address(host)
        if address.is_unspecified:
            host = socket.gethostname()
        elif address.version == 6:
            host = f"[{host}]"
    suffix = f"?token={options.token}" if options.token else ""
    return f"http://{host}:{port}/{suffix}"


def open_browser(url: str) -> None:
    """Opens the page; where there is no browser, the printed address is enough."""
    with contextlib.suppress(webbrowser.Error, OSError):
        webbrowser.open(url)


def _first_scan(options: PageOptions) -> OpenScan | None:
    path = options.first_scan
    return None if path is None else open_scan((path,), path.name)


def _listen(options: PageOptions) -> socket.socket:
    try:
        family = socket.getaddrinfo(options.host, options.port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((options.host, options.port), family=family, backlog=128)
    except OSError as error:
        raise InvalidInputError(
            f"wanted to listen at {options.host} port {options.port}, got: {error.strerror}; "
            "give another --port (0 for any that is free) or --host"
        ) from error
