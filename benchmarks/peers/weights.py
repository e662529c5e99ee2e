"""The torch modules behind an exported release: the same numbers, or an error."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import onnx

from export.graph_steps import WEIGHTS_SHA256
from organseg.contract import Platform, Preset, graph_stages, preset_by_name
from organseg.errors import ReleaseError
from organseg.networks.build import build_organ_seg
from organseg.networks.checkpoint import (
    EXTRACTORS_FILE,
    SEGMENTER_FILE,
    VISION_LANGUAGE_FOLDER,
    load_state,
    load_vision_language,
)
from organseg.networks.context_cache import FILE_NAME, load_context_cache
from organseg.networks.extractors import Extractors
from organseg.networks.fingerprint import weights_sha256
from organseg.networks.gate import Thresholds
from organseg.networks.organ_seg import OrganSeg
from organseg.networks.segmenter import Segmenter
from organseg.networks.stages import graph_modules
from organseg.serving.manifest import MODELS_FOLDER, read_manifest


@dataclass(frozen=True)
class Reference:
    """The whole flow in torch, and what its gate decides by."""

    organ_seg: OrganSeg
    """In float32, in evaluation mode, its adapter merged."""
    thresholds: Thresholds
    """Of the release's context cache."""


def release_preset(release: Path) -> Preset:
    """The preset of a release that the CPU's engines run; raises `ReleaseError` for another."""
    manifest = read_manifest(release)
    if manifest.platform != Platform.PYTHON.value:
        raise ReleaseError(
            f"wanted a release for the platform {Platform.PYTHON.value}, got one for "
            f"{manifest.platform}: export it with --platform {Platform.PYTHON.value}"
        )
    return preset_by_name(manifest.preset)


def load_reference(release: Path, checkpoint: Path | None) -> Reference:
    """The release's weights in torch.

    Language model and thresholds are read from the release itself; the segmenter and the heads,
    which it holds as graphs, from the checkpoint that it was exported from, or made at random
    with seed 0, as `export` does. The hash that each graph carries says whether they are the same.

    Raises:
        ReleaseError: a part is missing, or the checkpoint is another.
        CheckpointError: the checkpoint is damaged.
    """
    preset = release_preset(release)
    models = release / MODELS_FOLDER
    cache = load_context_cache(models / "gate" / "1" / FILE_NAME)
    vision_language = load_vision_language(
        models / "llava_med" / "1" / VISION_LANGUAGE_FOLDER, preset.vision_language
    )
    if checkpoint is None:
        organ_seg = _random(preset, cache_of=release)
        organ_seg.vision_language = vision_language
    else:
        segmenter = Segmenter(preset.segmenter)
        load_state(segmenter, checkpoint / SEGMENTER_FILE)
        extractors = Extractors(preset.extractors, preset.vision_language, cache)
        load_state(extractors, checkpoint / EXTRACTORS_FILE)
        organ_seg = OrganSeg(preset, vision_language, segmenter, extractors)
    organ_seg.eval()
    _require_same_weights(organ_seg, models, preset)
    return Reference(organ_seg, cache.thresholds)


def _random(preset: Preset, *, cache_of: Path) -> OrganSeg:
    cache = load_context_cache(cache_of / MODELS_FOLDER / "gate" / "1" / FILE_NAME)
    # The language model is made too: the numbers of the others follow from those drawn for it.
    return build_organ_seg(preset, seed=0, cache=cache)


def _require_same_weights(organ_seg: OrganSeg, models: Path, preset: Preset) -> None:
    modules = graph_modules(organ_seg)
    for stage in graph_stages(preset):
        path = models / stage.name / "1" / Platform.PYTHON.graph_file
        graph = onnx.load(str(path), load_external_data=False)
        recorded = {entry.key: entry.value for entry in graph.metadata_props}.get(WEIGHTS_SHA256)
        if recorded != weights_sha256(modules[stage.name]):
            raise ReleaseError(
                f"wanted the weights that the graph of {stage.name} was exported from, got "
                "others: name the checkpoint of this release with --checkpoint"
            )
