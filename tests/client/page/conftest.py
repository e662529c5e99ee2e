"""What tests of the page share: a headless Chromium, a server of the shipped weights, a page."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from page_process import NOBODY, Page, running_page

CHROMIUM = "chromium"
_ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    # WebGL 2 without a graphics card.
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--ignore-gpu-blocklist",
)


@pytest.fixture(scope="module")
def chromium():
    """A headless Chromium; tests skip where Debian's package is not installed.

    Of a module: Playwright keeps an event loop running, in which no other test could start one.
    """
    executable = shutil.which(CHROMIUM)
    if executable is None:
        pytest.skip("needs a Chromium: apt-get install chromium (make system-packages)")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=executable, args=list(_ARGUMENTS), timeout=120_000
        )
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def shipped_release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release of the weights that come with the repository.

    One that was exported before may be named in ORGANSEG_SHIPPED_RELEASE.
    """
    made = os.environ.get("ORGANSEG_SHIPPED_RELEASE")
    if made:
        return Path(made)
    from export.__main__ import main as export

    out = tmp_path_factory.mktemp("releases") / "tiny"
    assert export(["--preset", "tiny", "--out", str(out)]) == 0
    return out


class StoppableServer:
    """The embedded server, which a test may stop and start again at the same address."""

    def __init__(self, release: Path) -> None:
        self._release = release
        self._port = 0
        self._server = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._port}"

    def start(self) -> None:
        from organseg.serving.embedded import EmbeddedServer, EnsembleProbe, ServerOptions
        from organseg.serving.manifest import MODELS_FOLDER

        options = ServerOptions(grpc_port=self._port, http_port=0, metrics_port=0)
        self._server = EmbeddedServer(
            self._release / MODELS_FOLDER, options, probe=EnsembleProbe()
        ).__enter__()
        self._port = int(self._server.grpc_address.rpartition(":")[2])

    def stop(self) -> None:
        if self._server is not None:
            self._server.__exit__(None, None, None)
            self._server = None


@pytest.fixture(scope="module")
def shipped_server(shipped_release: Path) -> Iterator[StoppableServer]:
    """A server of the shipped weights; a test that stops it starts it again."""
    server = StoppableServer(shipped_release)
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def page_process(shipped_server: StoppableServer) -> Iterator[Page]:
    """A page that asks the shipped weights."""
    with running_page(f"servers=({shipped_server.address!r},), port=0") as page:
        yield page


@pytest.fixture(scope="module")
def lonely_page() -> Iterator[Page]:
    """A page whose server is not there."""
    with running_page(f"servers=({NOBODY!r},), port=0") as page:
        yield page
