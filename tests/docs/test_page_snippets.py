"""Every snippet of the README and of the users' pages runs as it stands, or a list says why not."""

from __future__ import annotations

import io
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import nibabel
import numpy as np
import pytest
from PIL import Image
from snippets import REPO_ROOT, Snippet, make_folder, run_python, run_shell, snippets_of

from benchmarks.perf_analyzer import (
    PerfAnalyzerUnreachableError,
    ensure_perf_analyzer,
    program_environment,
)
from constructed import PICTURES
from organseg_client.command.exit_codes import ExitCode

if TYPE_CHECKING:
    from organseg.serving.embedded import EmbeddedServer

pytestmark = [pytest.mark.server, pytest.mark.slow]

PAGES = ("README.md", "docs/client.md", "docs/command-line.md", "docs/volumes.md", "docs/wire.md")

NOT_RUN = {
    (
        "README.md",
        "make demo    # set up, export, start Triton, ask questions about sample slices, "
        "write demo/overlays",
    ): "tests/demo runs the demo, and `make test` is these tests",
    ("README.md", "make setup"): "`make serve` serves until it is stopped; tests/serving starts it",
    (
        "README.md",
        ".venv/bin/organseg-client ui demo/samples/ct_middle_abdomen.png",
    ): "serves until it is stopped; tests/client/page starts it",
    (
        "README.md",
        "python -m export --preset medsam --platform onnxruntime --precision bf16 "
        "--checkpoint DIR --out DIR",
    ): "wants weights that cannot be shipped, and a GPU; tests/export runs it at toy width",
}
"""Snippets that are not run, by page and first line, each with the reason."""

SNIPPETS = [snippet for page in PAGES for snippet in snippets_of(page)]
RUN = [snippet for snippet in SNIPPETS if (snippet.page, snippet.first_line) not in NOT_RUN]
SHELL = [snippet for snippet in RUN if snippet.language == "sh"]
PYTHON = {
    page: of_page
    for page in PAGES
    if (of_page := [one for one in RUN if one.page == page and one.language == "python"])
}

TOOLS = ("curl", "jq", "node", "npm")
NO_REGISTRY = re.compile(r"ENOTFOUND|ECONNREFUSED|ETIMEDOUT|EAI_AGAIN|ECONNRESET|network")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout with the reader's own files in it: a slice in several forms, a small scan."""
    made = tmp_path_factory.mktemp("snippets")
    make_folder(made)
    (made / "slice.png").write_bytes(PICTURES[0])
    grey = np.asarray(Image.open(io.BytesIO(PICTURES[0])), dtype=np.float64)
    # The window of the pages, [-160, 240], makes these grey levels again.
    hounsfield = np.rint(grey / 255 * 400 - 160).astype(np.int16)
    np.save(made / "slice.npy", hounsfield)
    values = np.repeat(hounsfield[:40, :48].T[:, :, None], 6, axis=2)
    scan = nibabel.Nifti1Image(values[::-1, ::-1], np.diag([0.9, 0.9, 5.0, 1.0]))
    nibabel.save(scan, made / "ct.nii.gz")
    return made


@pytest.fixture
def perf_analyzer() -> Iterator[dict[str, str]]:
    """Variables of an environment in which `perf_analyzer` is on PATH and starts."""
    try:
        program = ensure_perf_analyzer()
    except PerfAnalyzerUnreachableError as error:
        pytest.skip(f"pip has no network to fetch perf_analyzer with: {error}")
    with program_environment() as variables:
        yield {
            "PATH": f"{program.parent}:{variables['PATH']}",
            "LD_LIBRARY_PATH": variables["LD_LIBRARY_PATH"],
        }


def addressed(code: str, server: EmbeddedServer) -> str:
    """The code with the tests' server in place of the one that `make serve` starts."""
    return code.replace("localhost:8001", server.grpc_address).replace(
        "localhost:8000", server.http_address
    )


def test_a_snippet_is_run_or_listed_and_nothing_listed_is_gone() -> None:
    assert {snippet.language for snippet in RUN} <= {"sh", "python"}
    assert set(NOT_RUN) <= {(snippet.page, snippet.first_line) for snippet in SNIPPETS}
    assert len(SHELL) + sum(map(len, PYTHON.values())) + len(NOT_RUN) == len(SNIPPETS)


@pytest.mark.parametrize("snippet", SHELL, ids=str)
def test_a_shell_snippet_runs(
    snippet: Snippet,
    folder: Path,
    ensemble_server: EmbeddedServer,
    request: pytest.FixtureRequest,
) -> None:
    for tool in TOOLS:
        if re.search(rf"\b{tool}\b", snippet.code) and shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    packages = folder / "client" / "examples" / "node" / "node_modules"
    if "ask.mjs" in snippet.code and "npm" not in snippet.code and not packages.is_dir():
        pytest.skip("the snippet before it has not installed the example's packages by npm")
    wants_program = "perf_analyzer " in snippet.code
    variables = {
        # A command that names no server asks this one.
        "ORGANSEG_URL": ensemble_server.grpc_address,
        **(request.getfixturevalue("perf_analyzer") if wants_program else {}),
    }
    done = run_shell(addressed(snippet.code, ensemble_server), folder, variables)
    if done.returncode != 0 and "npm error" in done.stderr and NO_REGISTRY.search(done.stderr):
        pytest.skip("npm reaches no registry to install from")
    assert done.returncode == 0, f"{snippet}\n{done.stdout}\n{done.stderr}"
    if snippet.shown is not None:
        assert done.stdout == snippet.shown


@pytest.mark.parametrize("page", PYTHON)
def test_the_python_snippets_of_a_page_run_one_after_another(
    page: str, folder: Path, ensemble_server: EmbeddedServer
) -> None:
    done, printed = run_python(PYTHON[page], folder, lambda code: addressed(code, ensemble_server))
    assert done.returncode == 0, f"{page}\n{done.stderr}"
    for snippet, said in zip(PYTHON[page], printed, strict=False):
        if snippet.shown is not None:
            assert said == snippet.shown, str(snippet)


def test_the_page_of_the_command_line_has_every_exit_code() -> None:
    page = (REPO_ROOT / "docs" / "command-line.md").read_text(encoding="utf-8")
    codes = [int(code) for code in re.findall(r"^\| (\d+) \|", page, re.MULTILINE)]
    assert codes == [code.value for code in ExitCode]


def test_the_page_of_the_wire_asks_without_this_projects_library() -> None:
    code = "\n".join(snippet.code for snippet in PYTHON["docs/wire.md"])
    imported = set(re.findall(r"^(?:import|from) (\w+)", code, re.MULTILINE))
    assert imported == {"io", "numpy", "secrets", "tritonclient"}
