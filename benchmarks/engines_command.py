"""`python -m benchmarks engines`: which CPU engine runs which graph fastest, and how exactly."""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from tqdm import tqdm  # type: ignore[import-untyped]

from benchmarks.engines import ENGINES, StageComparison, compare_engines
from benchmarks.engines_report import engines_record, render
from benchmarks.options import count
from benchmarks.record import describe_run, write_record
from benchmarks.served_cost import ServedCost, served_cost
from benchmarks.workload import make_workload
from export.__main__ import SHIPPED
from export.parity import RELATIVE_TOLERANCE
from export.progress import Progress
from export.release import write_release
from export.samples import flow_inputs
from organseg.contract import (
    PRESETS,
    CpuEngine,
    Model,
    Platform,
    Preset,
    deployment_of,
    graph_stages,
    model_of,
    preset_by_name,
)
from organseg.errors import ReleaseError
from organseg.networks.build import build_checkpoint
from organseg.networks.checkpoint import Checkpoint, load_checkpoint
from organseg.networks.lora import merge_adapter
from organseg.networks.stages import graph_modules
from organseg.serving.embedded import EmbeddedServer, EnsembleProbe, ServerOptions
from organseg.serving.engine_choice import load_graph
from organseg.serving.manifest import MODELS_FOLDER, verify_release

SERVED_STAGE = "image_encoder"
"""The stage whose cost in a server is compared with its engine's alone: nearly all the work."""
_READY_TIMEOUT_S = 600.0
_DESCRIPTION = """\
Run every graph stage of a preset in PyTorch (float32, and under autocast to bfloat16), ONNX
Runtime and OpenVINO (float32, bfloat16), with the same threads and by turns in one process; then
serve the preset and compare the processor time of a request with that of the engine alone. The
contract's table of engines (organseg/contract/cpu_engines.py) is written from what this says.
"""


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `engines`."""
    parser = commands.add_parser(
        "engines",
        help="every graph in every CPU engine",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--preset", choices=PRESETS, default="tiny", help="the sizes")
    parser.add_argument(
        "--untrained",
        action="store_true",
        help="random weights, also where the repository has trained ones",
    )
    parser.add_argument(
        "--release",
        type=Path,
        metavar="DIR",
        help="a release of the same weights for the platform python (default: one is exported)",
    )
    parser.add_argument(
        "--threads",
        type=count,
        metavar="N",
        help="threads of every engine (default: each stage's of the deployment table)",
    )
    parser.add_argument(
        "--turns", type=count, default=5, metavar="N", help="timings of each engine (default: 5)"
    )
    parser.add_argument(
        "--requests", type=count, default=5, metavar="N", help="requests served (default: 5)"
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder of PRESET.json and PRESET.md"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Measures and writes both files. Raises `OrganSegError`."""
    # Before anything loads the machine, so that its load is that of the others.
    about = describe_run()
    preset = preset_by_name(options.preset)
    checkpoint = _checkpoint(preset, untrained=options.untrained)
    merge_adapter(checkpoint.organ_seg.vision_language)
    with _release(checkpoint, preset, options.release) as release:
        models = release / MODELS_FOLDER
        compared = _compare(checkpoint, models, options.threads, options.turns)
        served = _serve(preset, models, options.threads, options.requests)
    record = engines_record(
        [(each, _row(preset, each.stage)) for each in compared],
        served,
        {
            **about,
            "command": _command(options),
            "preset": preset.name,
            "trained": checkpoint.card.trained,
            "turns": options.turns,
        },
    )
    path = options.out / f"{preset.name}.json"
    write_record(path, record)
    text = render(record)
    path.with_suffix(".md").write_text(text, encoding="utf-8")
    print(text)
    return 0


def graph_of(models: Path, stage: str) -> Path:
    """The graph of one stage in a model repository for the platform python."""
    return models / stage / "1" / Platform.PYTHON.graph_file


def require_same_weights(comparison: StageComparison) -> None:
    """Raises `ReleaseError` where ONNX Runtime and torch differ by more than engines do."""
    for each in comparison.runs:
        if (
            each.engine == CpuEngine.ONNXRUNTIME.value
            and not each.relative_difference <= RELATIVE_TOLERANCE
        ):
            raise ReleaseError(
                f"wanted a release of the weights that torch has, {comparison.stage} differs by "
                f"{each.relative_difference:.1e}: leave --release out, or match --untrained to it"
            )


def _checkpoint(preset: Preset, *, untrained: bool) -> Checkpoint:
    shipped = SHIPPED / preset.name
    if untrained or not shipped.is_dir():
        return build_checkpoint(preset, seed=0)
    return load_checkpoint(shipped, preset)


@contextmanager
def _release(checkpoint: Checkpoint, preset: Preset, given: Path | None) -> Iterator[Path]:
    """The release to measure: the one given, checked, or one exported for the time of the block."""
    if given is not None:
        manifest = verify_release(given)
        if (manifest.preset, manifest.platform) != (preset.name, Platform.PYTHON.value):
            raise ReleaseError(
                f"wanted a release of {preset.name} for {Platform.PYTHON.value}, got "
                f"{manifest.preset} for {manifest.platform}: name another, or leave --release out"
            )
        yield given
        return
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "release"
        write_release(checkpoint, preset, Platform.PYTHON, out, replace=False, progress=Progress())
        yield out


def _compare(
    checkpoint: Checkpoint, models: Path, threads: int | None, turns: int
) -> list[StageComparison]:
    preset = checkpoint.organ_seg.preset
    modules = graph_modules(checkpoint.organ_seg)
    tensors = flow_inputs(checkpoint.organ_seg, 1)
    stages = list(graph_stages(preset))
    compared = []
    with tqdm(
        total=len(stages) * len(ENGINES) * turns, unit="turn", disable=not os.isatty(2)
    ) as bar:

        def tell(engine: str) -> None:
            bar.set_description(f"{model.name} in {engine}")
            bar.update()

        for model in stages:
            comparison = compare_engines(
                modules[model.name],
                model,
                graph_of(models, model.name),
                tensors,
                threads=threads or _threads(preset, model),
                turns=turns,
                told=tell,
            )
            require_same_weights(comparison)
            compared.append(comparison)
    return compared


def _serve(preset: Preset, models: Path, threads: int | None, requests: int) -> ServedCost:
    model = model_of(preset, SERVED_STAGE)
    engine = load_graph(
        graph_of(models, model.name),
        _row(preset, model.name),
        threads=threads or _threads(preset, model),
    )
    inputs = {
        tensor.name: np.ones((1, *tensor.shape()), tensor.dtype.numpy) for tensor in model.inputs
    }
    options = ServerOptions(
        grpc_port=0, http_port=0, metrics_port=0, threads=threads, ready_timeout_s=_READY_TIMEOUT_S
    )
    questions = make_workload(requests + 1).questions
    with (
        EmbeddedServer(models, options, probe=EnsembleProbe(_READY_TIMEOUT_S)) as server,
        tqdm(total=len(questions), unit="request", desc="served", disable=not os.isatty(2)) as bar,
    ):

        def alone() -> None:
            engine.infer(inputs)
            bar.update()

        return served_cost(
            server.grpc_address, server.process_group, SERVED_STAGE, questions, alone
        )


def _row(preset: Preset, stage: str) -> tuple[CpuEngine, ...]:
    return deployment_of(preset, Platform.PYTHON, model_of(preset, stage)).engines


def _threads(preset: Preset, model: Model) -> int:
    return deployment_of(preset, Platform.PYTHON, model).threads


def _command(options: argparse.Namespace) -> str:
    given = [f"--preset {options.preset}"]
    given += ["--untrained"] if options.untrained else []
    given += [f"--release {options.release.name}"] if options.release else []
    given += [f"--threads {options.threads}"] if options.threads else []
    given += [f"--turns {options.turns} --requests {options.requests} --out {options.out.name}"]
    return f"python -m benchmarks engines {' '.join(given)}"
