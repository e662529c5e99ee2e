"""Writes a release: the model repository for one preset and platform, with its manifest.

A release is immutable. It is put together beside its place and moved there in one step when
everything in it has been checked, so a failed export leaves nothing that could be served.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime, timezone
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from export.acceptance import Acceptance, accept, require_acceptance
from export.engines import Target, load_engine_alone
from export.facts import release_facts
from export.graph_steps import GRAPH_FILE, PARITY_FILE, engine_step, graph_step
from export.language_model import put_base_weights, served_as, stored_type
from export.parity import BATCHES, Parity, cpu_sessions, require_parity
from export.precision import Precision
from export.progress import Progress
from export.samples import flow_inputs
from export.steps import RECORD_FILE, Steps, passing_folder, tool_versions
from organseg.contract import (
    CONTRACT_VERSION,
    EXPLAIN_NAME,
    Explanations,
    ImageFeatures,
    LanguageModel,
    Model,
    ModelKind,
    Platform,
    Preset,
    default_weights,
    graph_stages,
    served_models,
)
from organseg.contract.checker import check_graph
from organseg.contract.deployed_config import deployed, require_platform
from organseg.contract.deployment_file import Deployment, stages_document
from organseg.contract.pbtxt import render_configs, warm_up_files
from organseg.errors import ReleaseError
from organseg.file_hash import file_sha256
from organseg.networks import context_cache
from organseg.networks.checkpoint import VISION_LANGUAGE_FOLDER, Checkpoint, save_vision_language
from organseg.networks.fingerprint import weights_sha256
from organseg.networks.lora import merge_adapter
from organseg.serving.manifest import MANIFEST_NAME, MODELS_FOLDER, write_manifest

TEMPLATE = Path(__file__).resolve().parent.parent / "model_repository"
"""The checkout's model repository: where each stage's `model.py` comes from."""
VERSION_FOLDER = "1"
_ACCEPTANCE_FILE = "acceptance.json"


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
    language_model: LanguageModel | None = None,
    target: Target | None = None,
    timing_cache: Path | None = None,
    steps: Steps | None = None,
    sources: Sequence[Mapping[str, Any]] = (),
    explanations: Explanations = Explanations.INCLUDE,
    image_features: ImageFeatures = ImageFeatures.REUSE,
    deployment: Deployment | None = None,
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
        language_model: how the language model is served, where somebody chose.
        target: what engines are built with and for, where the platform is TensorRT.
        timing_cache: a file that keeps TensorRT's measured kernel times between builds.
        steps: where what each step makes is kept for the next export; by default nothing is.
        sources: where the parts of the checkpoint came from, for the manifest.
        explanations: whether the model that writes answers out is part of it.
        image_features: whether what is computed of an image is kept for its next question.
        deployment: what the machine that will serve changes in the deployment table.

    Returns:
        The comparisons of graphs with torch; they are in the manifest too.

    Raises:
        ReleaseError: `out` holds something already, a graph does not match torch, users would
            see a difference, or the platform does not run the precision.
        EngineError: TensorRT refuses a graph.
        ContractError: the deployment does not fit the release.
    """
    if (platform is Platform.TENSORRT) != (target is not None):
        raise ValueError("wanted a target for the platform tensorrt, and for it alone")
    _require_place(out, replace=replace)
    _require_precision(platform, precision)
    deployment = deployment or Deployment()
    require_platform(deployment, platform.value)
    served = language_model or LanguageModel(default_weights(on_gpu=platform.has_gpu))
    out.parent.mkdir(parents=True, exist_ok=True)
    created = datetime.now(timezone.utc).isoformat(timespec="seconds")
    facts = release_facts(checkpoint.card, created=created, sources=sources)
    with _assembled(out) as folder:
        steps = steps or Steps(folder.parent / "steps", progress)
        models = folder / MODELS_FOLDER
        with progress.step("write configs"):
            configs = render_configs(preset, platform, served, facts, explanations, image_features)
            _write_configs(models, preset, platform, deployed(configs, deployment))
        if explanations is Explanations.INCLUDE:
            # Before the merge, which is in place.
            put_base_weights(
                checkpoint.organ_seg.vision_language,
                models / EXPLAIN_NAME / VERSION_FOLDER,
                stored_type(language_model),
                talks=checkpoint.card.talks,
            )
        with progress.step("merge LoRA"):
            merge_adapter(checkpoint.organ_seg.vision_language)
        language_sha256 = weights_sha256(checkpoint.organ_seg.vision_language)
        _put_language_model(steps, checkpoint, language_sha256, models, stored_type(language_model))
        checkpoint.cache.save(models / "gate" / VERSION_FOLDER / context_cache.FILE_NAME)
        graphs, records = _graphs(steps, checkpoint, precision)
        for name, graph in graphs.items():
            check_graph((models / name / "config.pbtxt").read_text(encoding="utf-8"), graph)
        below_bar = _is_below_bar(lambda: require_parity(records), allowed=accept_below_bar)
        accepted = None
        if checkpoint.card.trained and (precision is not Precision.FP32 or language_model):
            accepted = found = _ask(steps, checkpoint, language_sha256, graphs, precision, served)
            below_bar |= _is_below_bar(lambda: require_acceptance(found), allowed=accept_below_bar)
        for model in graph_stages(preset):
            made = graphs[model.name].parent
            if target:
                made = engine_step(
                    steps,
                    model,
                    preset,
                    graphs[model.name],
                    target,
                    precision=precision.of_stage(model.name),
                    timing_cache=timing_cache,
                )
                load_engine_alone(models / model.name / "config.pbtxt", target)
            _take(made, models / model.name / VERSION_FOLDER)
        with progress.step("hash every file"):
            write_manifest(
                folder,
                preset=preset.name,
                platform=platform.value,
                contract_version=CONTRACT_VERSION,
                trained=checkpoint.card.trained,
                precision=precision.value,
                language_model=served.weights.value,
                placement=served.placement.value,
                explanations=explanations.value,
                image_features=image_features.value,
                deployment=stages_document(deployment.stages),
                acceptance=asdict(accepted) if accepted else {},
                below_bar=below_bar,
                tools=tool_versions(),
                parity=[asdict(record) for record in records],
                sources=sources,
                created=created,
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


def _ask(
    steps: Steps,
    checkpoint: Checkpoint,
    language_sha256: str,
    graphs: Mapping[str, Path],
    precision: Precision,
    served: LanguageModel,
) -> Acceptance:
    """What users would notice of a release, asked now or in an earlier export."""
    organ_seg, thresholds = checkpoint.organ_seg, checkpoint.cache.thresholds

    def make(folder: Path) -> None:
        own = {name: (graph, precision.of_stage(name)) for name, graph in graphs.items()}
        language = served_as(organ_seg.vision_language, served.weights)
        found = accept(organ_seg, cpu_sessions(own), thresholds, served=language)
        (folder / _ACCEPTANCE_FILE).write_text(json.dumps(asdict(found)), encoding="utf-8")

    # The graphs' own weights are told by their metadata.
    inputs = {
        "weights": language_sha256,
        "thresholds": repr(thresholds),
        "graphs": {name: file_sha256(graph) for name, graph in graphs.items()},
        "language model": served.weights.value,
    }
    folder = steps.result("ask what users would ask", inputs, make)
    return Acceptance(**json.loads((folder / _ACCEPTANCE_FILE).read_text(encoding="utf-8")))


def _write_configs(
    models: Path, preset: Preset, platform: Platform, configs: Mapping[str, str]
) -> None:
    stages = {model.name: model for model in served_models(preset)}
    for name, text in configs.items():
        version_folder = models / name / VERSION_FOLDER
        version_folder.mkdir(parents=True)
        (models / name / "config.pbtxt").write_text(text, encoding="utf-8")
        if name not in stages:
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


def _put_language_model(
    steps: Steps,
    checkpoint: Checkpoint,
    language_sha256: str,
    models: Path,
    dtype: torch.dtype | None,
) -> None:
    vision_language = checkpoint.organ_seg.vision_language
    llava: Any = vision_language.llava
    inputs = {
        "weights": language_sha256,
        "config": llava.config.to_json_string(),
        "tokenizer": vision_language.prompts.tokenizer.to_str(),
        "type": str(dtype),
    }
    made = steps.result(
        "save the language model",
        inputs,
        lambda folder: save_vision_language(vision_language, folder, dtype=dtype),
    )
    place = models / "llava_med" / VERSION_FOLDER / VISION_LANGUAGE_FOLDER
    place.mkdir()
    _take(made, place)


def _graphs(
    steps: Steps, checkpoint: Checkpoint, precision: Precision
) -> tuple[dict[str, Path], list[Parity]]:
    """Every graph stage's ONNX file, and their comparisons with torch."""

    @cache
    def samples() -> list[dict[str, Tensor]]:
        with steps.progress.step("walk sample requests through torch"):
            return [flow_inputs(checkpoint.organ_seg, batch, seed=batch) for batch in BATCHES]

    graphs: dict[str, Path] = {}
    records: list[Parity] = []
    for model in graph_stages(checkpoint.organ_seg.preset):
        folder, found = graph_step(steps, checkpoint, model, precision, samples)
        graphs[model.name] = folder / GRAPH_FILE
        records += found
    return graphs, records


def _take(made: Path, folder: Path) -> None:
    """Puts what a step made into a release: linked where the disk allows it, else copied."""
    for source in made.iterdir():
        if source.name in (RECORD_FILE, PARITY_FILE):
            continue
        try:
            os.link(source, folder / source.name)
        except OSError:
            shutil.copyfile(source, folder / source.name)


def _runs_in_python(model: Model, platform: Platform) -> bool:
    return model.kind is ModelKind.PYTHON or platform is Platform.PYTHON


@contextmanager
def _assembled(out: Path) -> Iterator[Path]:
    """A folder beside `out` that takes its place when the block ends well."""
    with passing_folder(out.parent, f".{out.name}-") as temporary:
        folder = temporary / "release"
        folder.mkdir()
        yield folder
        # Another user may run the server: safetensors makes its files private.
        for path in folder.rglob("*"):
            path.chmod(0o755 if path.is_dir() else 0o644)
        replaced = temporary / "replaced"
        if out.exists():
            out.rename(replaced)
        try:
            folder.rename(out)
        except OSError:
            if replaced.exists():
                replaced.rename(out)
            raise
