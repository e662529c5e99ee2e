"""`python -m organseg.contract`: writes every rendered file, or checks that none has drifted."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from organseg.contract.deployment import Platform
from organseg.contract.documentation import render_documentation
from organseg.contract.explanation import served_models
from organseg.contract.memory_page import render_memory
from organseg.contract.pbtxt import render_configs, warm_up_files
from organseg.contract.presets import LLAVA_MED_7B, TINY

GOLDENS = ((TINY, Platform.ONNXRUNTIME), (LLAVA_MED_7B, Platform.TENSORRT))
"""Beside the default, the renderings that are kept for review: one a native platform."""

GOLDEN_FOLDER = "tests/contract/goldens"


def rendered_files() -> dict[str, bytes]:
    """Every rendered file of the checkout by its path: the default's configs, pages, goldens."""
    files = {
        f"model_repository/{name}/config.pbtxt": text.encode()
        for name, text in render_configs(TINY, Platform.PYTHON).items()
    }
    for model in served_models(TINY):
        for path, content in warm_up_files(TINY, Platform.PYTHON, model).items():
            files[f"model_repository/{model.name}/{path}"] = content
    for preset, platform in GOLDENS:
        folder = f"{GOLDEN_FOLDER}/{preset.name}-{platform.value}"
        for name, text in render_configs(preset, platform).items():
            files[f"{folder}/{name}.pbtxt"] = text.encode()
    files["docs/contract.md"] = render_documentation().encode()
    files["docs/memory.md"] = render_memory().encode()
    return files


def main(arguments: list[str] | None = None) -> int:
    """Writes or checks; returns the exit code (1: something has drifted)."""
    parser = argparse.ArgumentParser(
        prog="python -m organseg.contract",
        description="Render model_repository/*/config.pbtxt, docs/contract.md and "
        "docs/memory.md from the contract, for the default preset (tiny) and platform (python), "
        "and the configs that tests/contract/goldens keeps for the native platforms.",
    )
    parser.add_argument("--check", action="store_true", help="write nothing; fail on drift")
    parser.add_argument(
        "--root", type=Path, default=Path.cwd(), help="the checkout (default: here)"
    )
    options = parser.parse_args(arguments)

    drifted = []
    for relative, content in rendered_files().items():
        path = options.root / relative
        if path.is_file() and path.read_bytes() == content:
            continue
        drifted.append(relative)
        if not options.check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    if options.check and drifted:
        print("out of date:", *drifted, sep="\n  ", file=sys.stderr)
        print("run `make contract` and commit the result", file=sys.stderr)
        return 1
    print(f"{len(drifted)} written" if drifted else "all rendered files are up to date")
    return 0


if __name__ == "__main__":
    sys.exit(main())
