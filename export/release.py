"""Writes a release: the model repository for one preset and platform, with its manifest.

A release is immutable. It is put together beside its place and moved there in one step when
everything in it has been checked, so a failed export leaves nothing that could be served.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import onnx

from export.acceptance import Acceptance, accept, require_acceptance
from export.engines import Target, write_engine
from export.graphs import export_graph
from export.parity import BATCHES, Parity, compare_graph, cpu_sessions, require_parity
from export.precision import Precision, lower
from export.progress import Progress
from export.samples import flow_inputs, inputs_of
from organseg.contract import (
    CONTRACT_PARAMETER,
    CONTRACT_VERSION,
    ENSEMBLE_NAME,
    Model,
    ModelKind,
    Platform,
    Preset,
    graph_stages,
    models_of,
)
from organseg.contract.checker import check_graph
from organseg.contract.pbtxt import render_configs, warm_up_files
from organseg.errors import ReleaseError
from organseg.networks import context_cache
from organseg.networks.checkpoint import VISION_LANGUAGE_FOLDER, Checkpoint, save_vision_language
from organseg.networks.lora import merge_adapter
from organseg.networks.stages import graph_modules
from organseg.serving.manifest import MANIFEST_NAME, MODELS_FOLDER, write_manifest

TEMPLATE = Path(__file__).resolve().parent.parent / "model_repository"
"""The checkout's model repository: where each stage's `model.py` comes from."""
TOOLS = ("torch", "onnx", "onnxscript", "onnxruntime", "transformers", "peft", "numpy")
"""The packages whose versions a manifest records."""
VERSION_FOLDER = "1"


def write_release(
    checkpoint: Checkpoint,
    preset: Preset,
    platform: Platform,
    out: Path,
    *,
    replace: bool,
    progress: Progress,
    precision: Precision = Precision.FP32,
    accept_below_bar: bool = False,
    target: Target | None = None,
    timing_cache: Path | None = None,
) -> list[Parity]:
    """Exports a checkpoint as a release.

    Args:
        checkpoint: the weights; an adapter among them is merged.
        preset: the sizes.
        platform: what will run the graphs.
        out: the release folder to make.
        replace: whether a release that is there already is taken away first.
        progress: told of each step.
        precision: what the graphs' products work in; half precision is for GPU platforms.
        accept_below_bar: release what differs from float32 torch all the same; the manifest says
            so.
        target: what engines are built with and for, where the platform is TensorRT.
        timing_cache: a file that keeps TensorRT's measured kernel times between builds.

    Returns:
        The comparisons of graphs with torch; they are in the manifest too.

    Raises:
        ReleaseError: `out` holds something already, a graph does not match torch, users would
            see a difference, or the platform does not run the precision.
        EngineError: TensorRT refuses a graph.
    """
    if (platform is Platform.TENSORRT) != (target is not None):
        raise ValueError("wanted a target for the platform tensorrt, and for it alone")
    _require_place(out, replace=replace)
    _require_precision(platform, precision)
    out.parent.mkdir(parents=True, exist_ok=True)
    with _assembled(out) as folder:
        models = folder / MODELS_FOLDER
        with progress.step("merge LoRA"):
            merge_adapter(checkpoint.organ_seg.vision_language)
        with progress.step("write configs"):
            _write_configs(models, preset, platform)
        with progress.step("save the language model"):
            save_vision_language(
                checkpoint.organ_seg.vision_language,
                models / "llava_med" / VERSION_FOLDER / VISION_LANGUAGE_FOLDER,
            )
            checkpoint.cache.save(models / "gate" / VERSION_FOLDER / context_cache.FILE_NAME)
        records = _write_graphs(checkpoint, preset, models, precision, progress)
        below_bar = _is_below_bar(lambda: require_parity(records), allowed=accept_below_bar)
        accepted = None
        if precision is not Precision.FP32 and checkpoint.card.trained:
            with progress.step("ask what users would ask"):
                accepted = found = _ask(checkpoint, models, precision)
            below_bar |= _is_below_bar(lambda: require_acceptance(found), allowed=accept_below_bar)
        if target:
            for model in graph_stages(preset):
                with progress.step(f"build the engine of {model.name}"):
                    write_engine(
                        model,
                        preset,
                        models / model.name,
                        target,
                        precision=precision.of_stage(model.name).value,
                        timing_cache=timing_cache,
                    )
        with progress.step("hash every file"):
            write_manifest(
                folder,
                preset=preset.name,
                platform=platform.value,
                contract_version=CONTRACT_VERSION,
                trained=checkpoint.card.trained,
                precision=precision.value,
                acceptance=asdict(accepted) if accepted else {},
                below_bar=below_bar,
                tools={name: version(name) for name in TOOLS},
                parity=[asdict(record) for record in records],
            )
    return records


def _require_place(out: Path, *, replace: bool) -> None:
    """Raises `ReleaseError` unless `out` is free, or an earlier release that may be replaced."""
    if out.exists() and not out.is_dir():
        raise ReleaseError(f"wanted a folder for the release, {out} is a file: name another --out")
    if not out.exists() or not any(out.iterdir()):
        return
    if not replace:
        raise ReleaseError(
            f"wanted an empty place for the release, {out} holds something: a release is never "
            "changed, so name another --out, or give --replace to make it anew"
        )
    if not (out / MANIFEST_NAME).is_file():
        raise ReleaseError(
            f"wanted a release to replace, {out} holds something else (no {MANIFEST_NAME}): "
            "nothing was touched; name another --out"
        )


def _require_precision(platform: Platform, precision: Precision) -> None:
    if precision is not Precision.FP32 and not platform.has_gpu:
        raise ReleaseError(
            f"wanted fp32 for the platform {platform.value}, whose CPU engines round by themselves "
            f"where that was measured to gain, got {precision.value}: leave --precision out, or "
            "choose a GPU platform"
        )


def _is_below_bar(require: Callable[[], None], *, allowed: bool) -> bool:
    """Whether a demand is not met; raises its `ReleaseError` unless that is allowed."""
    try:
        require()
    except ReleaseError as error:
        if not allowed:
            raise
        print(f"  below the bar: {error}", file=sys.stderr)
        return True
    return False


def _ask(checkpoint: Checkpoint, models: Path, precision: Precision) -> Acceptance:
    graphs = {
        name: (
            models / name / VERSION_FOLDER / Platform.PYTHON.graph_file,
            precision.of_stage(name),
        )
        for name in graph_modules(checkpoint.organ_seg)
    }
    sessions = cpu_sessions(graphs)
    return accept(checkpoint.organ_seg, sessions, checkpoint.cache.thresholds)


def _write_configs(models: Path, preset: Preset, platform: Platform) -> None:
    stages = {model.name: model for model in models_of(preset)}
    for name, text in render_configs(preset, platform).items():
        version_folder = models / name / VERSION_FOLDER
        version_folder.mkdir(parents=True)
        (models / name / "config.pbtxt").write_text(text, encoding="utf-8")
        if name == ENSEMBLE_NAME:
            # Triton wants the version folder of an ensemble; a file keeps it through copies.
            (version_folder / ".gitkeep").touch()
            continue
        model = stages[name]
        if _runs_in_python(model, platform):
            shutil.copyfile(
                TEMPLATE / name / VERSION_FOLDER / "model.py", version_folder / "model.py"
            )
        for relative, content in warm_up_files(preset, platform, model).items():
            path = models / name / relative
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def _write_graphs(
    checkpoint: Checkpoint,
    preset: Preset,
    models: Path,
    precision: Precision,
    progress: Progress,
) -> list[Parity]:
    organ_seg = checkpoint.organ_seg
    modules = graph_modules(organ_seg)
    with progress.step("walk sample requests through torch"):
        samples = [flow_inputs(organ_seg, batch, seed=batch) for batch in BATCHES]
    metadata = {
        CONTRACT_PARAMETER: CONTRACT_VERSION,
        "preset": preset.name,
        "trained": str(checkpoint.card.trained).lower(),
        "text_encoder_sha256": checkpoint.cache.encoder_sha256,
    }
    records = []
    for model in graph_stages(preset):
        folder = models / model.name
        graph = folder / VERSION_FOLDER / Platform.PYTHON.graph_file
        own = precision.of_stage(model.name)
        with progress.step(f"export {model.name}"):
            export_graph(
                modules[model.name],
                model,
                preset,
                inputs_of(model, samples[-1]),
                graph,
                metadata={**metadata, "precision": own.value},
            )
        if own is not Precision.FP32:
            with progress.step(f"lower {model.name} to {own.value}"):
                onnx.save(lower(onnx.load(str(graph)), own), str(graph))
        with progress.step(f"compare {model.name} with torch"):
            records += compare_graph(
                graph, modules[model.name], model, samples, checkpoint.cache.thresholds, own
            )
            check_graph((folder / "config.pbtxt").read_text(encoding="utf-8"), graph)
    return records


def _runs_in_python(model: Model, platform: Platform) -> bool:
    return model.kind is ModelKind.PYTHON or platform is Platform.PYTHON


@contextmanager
def _assembled(out: Path) -> Iterator[Path]:
    """A folder beside `out` that takes its place when the block ends well."""
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as temporary:
        folder = Path(temporary) / "release"
        folder.mkdir()
        yield folder
        # Another user may run the server: safetensors makes its files private.
        for path in folder.rglob("*"):
            path.chmod(0o755 if path.is_dir() else 0o644)
        replaced = Path(temporary) / "replaced"
        if out.exists():
            out.rename(replaced)
        try:
            folder.rename(out)
        except OSError:
            if replaced.exists():
                replaced.rename(out)
            raise
