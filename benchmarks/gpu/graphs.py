"""The graph stages as ONNX files, exported from the models on the device, in one precision."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from benchmarks.gpu.engines import StageGraph, random_inputs
from export.graphs import export_graph
from export.precision import Precision, lower_file
from organseg.contract import Preset, graph_stages
from organseg.networks.organ_seg import OrganSeg
from organseg.networks.stages import graph_modules

# A size of one would be burnt into a graph, and two equal ones taken for one.
_TRACED_BATCH, _TRACED_PROMPTS = 3, 2


def widened(preset: Preset, batch: int) -> Preset:
    """The preset with engines for batches of at least this size."""
    return replace(preset, max_batch=max(preset.max_batch, batch))


def export_stages(
    organ_seg: OrganSeg, preset: Preset, precision: Precision, folder: Path
) -> Mapping[str, StageGraph]:
    """Writes every graph stage to the folder, by name.

    Args:
        organ_seg: the models; the language model is not looked at.
        preset: the sizes, and the largest batch.
        precision: of a release; each stage has its own by `Precision.of_stage`.
        folder: where to.
    """
    stages = {}
    for model in graph_stages(preset):
        module = graph_modules(organ_seg)[model.name]
        own = precision.of_stage(model.name)
        path = folder / f"{model.name}.onnx"
        export_graph(
            copy.deepcopy(module).cpu(),
            model,
            preset,
            tuple(random_inputs(model, _TRACED_BATCH, _TRACED_PROMPTS, "cpu").values()),
            path,
            metadata={},
        )
        if own is not Precision.FP32:
            lower_file(path, own, path)
        stages[model.name] = StageGraph(model, preset, module, path, own)
    return stages
