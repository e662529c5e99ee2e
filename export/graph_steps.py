"""The steps that make one stage's graph or engine: what goes into each, and what each leaves.

- `graph`: exported, simplified, lowered to its precision and compared with torch; leaves the ONNX
  file and `parity.json`.
- `engine`: compiled from that graph by TensorRT; leaves the engine, its card and the builder's log.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor

from export.engines import Target, build_engine
from export.graphs import export_graph
from export.parity import Parity, compare_graph
from export.precision import Precision, lower_file
from export.samples import inputs_of
from export.steps import Steps
from organseg.contract import CONTRACT_PARAMETER, CONTRACT_VERSION, Model, Platform, Preset
from organseg.contract.engines import tensorrt_profile
from organseg.file_hash import file_sha256
from organseg.networks.checkpoint import Checkpoint
from organseg.networks.fingerprint import weights_sha256
from organseg.networks.stages import graph_modules

GRAPH_FILE = Platform.PYTHON.graph_file
PARITY_FILE = "parity.json"
WEIGHTS_SHA256 = "weights_sha256"
"""The graph's metadata that says which weights it was made of (`fingerprint.weights_sha256`)."""

Samples = Callable[[], list[dict[str, Tensor]]]
"""Sample requests walked through torch, one batch each; made when they are first needed."""


def graph_step(
    steps: Steps,
    checkpoint: Checkpoint,
    model: Model,
    precision: Precision,
    samples: Samples,
) -> tuple[Path, list[Parity]]:
    """A stage's graph and its comparisons with torch, made now or kept from before.

    Args:
        steps: where results are kept.
        checkpoint: the weights, their adapter merged.
        model: the stage.
        precision: what the release works in; the stage's own follows from it.
        samples: what is traced with and compared on.

    Returns:
        The step's folder, and what `parity.json` in it says.
    """
    preset, own = checkpoint.organ_seg.preset, precision.of_stage(model.name)
    module = graph_modules(checkpoint.organ_seg)[model.name]
    metadata = {
        CONTRACT_PARAMETER: CONTRACT_VERSION,
        "preset": preset.name,
        "trained": str(checkpoint.card.trained).lower(),
        "text_encoder_sha256": checkpoint.cache.encoder_sha256,
        "precision": own.value,
        WEIGHTS_SHA256: weights_sha256(module),
    }

    def make(folder: Path) -> None:
        graph, progress = folder / GRAPH_FILE, steps.progress
        inputs = inputs_of(model, samples()[-1])
        nodes = export_graph(module, model, preset, inputs, graph, metadata=metadata)
        progress.note(f"simplify {model.name}", f"{nodes[0]} nodes to {nodes[1]}")
        if own is not Precision.FP32:
            with progress.step(f"lower {model.name} to {own.value}"):
                lower_file(graph, own, graph)
        with progress.step(f"compare {model.name} with torch"):
            thresholds = checkpoint.cache.thresholds
            records = compare_graph(graph, module, model, samples(), thresholds, own)
        document = json.dumps([asdict(record) for record in records], indent=2)
        (folder / PARITY_FILE).write_text(document + "\n", encoding="utf-8")

    inputs = {
        **metadata,
        "preset": repr(preset),
        "thresholds": repr(checkpoint.cache.thresholds),
    }
    folder = steps.result(f"export {model.name}", inputs, make)
    found = json.loads((folder / PARITY_FILE).read_text(encoding="utf-8"))
    return folder, [Parity(**record) for record in found]


def engine_step(
    steps: Steps,
    model: Model,
    preset: Preset,
    graph: Path,
    target: Target,
    *,
    precision: Precision,
    timing_cache: Path | None,
) -> Path:
    """The folder of a stage's engine, built now or kept from before.

    Args:
        steps: where results are kept.
        model: the stage.
        preset: its sizes.
        graph: its ONNX file.
        target: what to build with and for.
        precision: what the graph works in, for the card.
        timing_cache: a file that keeps measured kernel times between builds.

    Raises:
        EngineError: TensorRT refuses the graph.
    """
    inputs: Mapping[str, Any] = {
        "graph": file_sha256(graph),
        "preset": preset.name,
        "precision": precision.value,
        "builder": [target.trt.__name__, target.trt.__version__],
        "gpu": [target.gpu.name, target.gpu.compute_capability],
        "profile": repr(tensorrt_profile(preset, model)),
    }

    def make(folder: Path) -> None:
        build_engine(
            model,
            preset,
            graph,
            folder,
            target,
            precision=precision.value,
            timing_cache=timing_cache,
        )

    return steps.result(f"build the engine of {model.name}", inputs, make)
