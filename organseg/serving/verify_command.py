"""`organseg verify RELEASE`: whether a release is whole, and whether this machine can serve it."""

from __future__ import annotations

import argparse
from pathlib import Path

from organseg.contract import Platform
from organseg.serving.engine_cards import require_engines_fit
from organseg.serving.gpu_machine import this_machine
from organseg.serving.manifest import (
    MODELS_FOLDER,
    describe_release,
    require_contract,
    verify_release,
)


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `verify` to the commands of `organseg`."""
    parser = commands.add_parser(
        "verify",
        help="check a release before a Triton server loads it",
        description="Compare every file of a release with its manifest and, where it has TensorRT "
        "engines, what they were built by and for with the TensorRT and the GPUs of this machine. "
        "Exit status 1 and one line say what is wrong and what to do. A container runs it before "
        "tritonserver.",
    )
    parser.add_argument("release", type=Path, help="the folder that `python -m export` wrote")
    parser.set_defaults(run=verify)


def verify(arguments: argparse.Namespace) -> int:
    """Checks; gives exit status 0. Raises `OrganSegError` for whatever is wrong."""
    manifest = verify_release(arguments.release)
    require_contract(manifest)
    if manifest.platform == Platform.TENSORRT.value:
        require_engines_fit(arguments.release / MODELS_FOLDER, this_machine())
    print(f"{len(manifest.files)} files are as they were made: {describe_release(manifest)}")
    return 0
