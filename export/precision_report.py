"""`python -m export.precision_report`: every graph in every precision, by numbers and by engines.

For each graph and precision: the file's size, its difference from float32 torch, and what
TensorRT-RTX makes of it for each compute capability. With trained weights also what users would
notice of a release. Writes PRESET.json, the record, and PRESET.md, rendered from it.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from types import ModuleType

from torch import Tensor

from export.__main__ import SHIPPED
from export.acceptance import LEAST_DICE, accept
from export.graphs import export_graph
from export.onnx_files import file_bytes
from export.parity import compare_graph, cpu_sessions
from export.precision import Precision, lower_file
from export.progress import Progress
from export.report_files import Record, report_parser, run_report
from export.samples import flow_inputs, inputs_of
from export.tensorrt_plans import TENSORRT_RTX, compile_plan, load_library
from organseg.contract import Model, Preset, graph_stages, preset_by_name
from organseg.contract.engines import tensorrt_profile
from organseg.errors import EngineError
from organseg.networks.build import build_checkpoint
from organseg.networks.checkpoint import Checkpoint, load_checkpoint
from organseg.networks.lora import merge_adapter
from organseg.networks.stages import graph_modules

CAPABILITIES = ("8.6", "8.9")
"""Compute capabilities that graphs are compiled for: Ampere (A10) and Ada (L4)."""
PACKAGES = ("torch", "onnx", "onnxscript", "onnxruntime", "tensorrt_rtx_cu13", "numpy")
"""Packages whose versions a record names."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures and writes; gives the exit status."""
    parser = report_parser("export.precision_report", __doc__.splitlines()[0])
    return run_report(
        parser,
        arguments,
        lambda options: measure(preset_by_name(options.preset), Progress()),
        render,
        PACKAGES,
    )


def measure(preset: Preset, progress: Progress) -> Record:
    """Everything that the report says, as plain values.

    With the weights that come with the repository where the preset has some, else random ones.
    """
    trt = load_library(TENSORRT_RTX)
    shipped = SHIPPED / preset.name
    checkpoint = (
        load_checkpoint(shipped, preset) if shipped.is_dir() else build_checkpoint(preset, seed=0)
    )
    merge_adapter(checkpoint.organ_seg.vision_language)
    graphs: list[Record] = []
    releases: list[Record] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        with progress.step("walk sample requests through torch"):
            # Two to trace with: a batch of one would be burnt into a graph.
            traced, compared = (flow_inputs(checkpoint.organ_seg, batch) for batch in (2, 1))
        for model in graph_stages(preset):
            with progress.step(f"export {model.name}"):
                export_graph(
                    graph_modules(checkpoint.organ_seg)[model.name],
                    model,
                    preset,
                    inputs_of(model, traced),
                    _file(folder, model.name, Precision.FP32),
                    metadata={},
                )
            graphs += _measure_graph(trt, checkpoint, model, compared, folder, progress)
        if checkpoint.card.trained:
            releases = list(_ask(checkpoint, graphs, folder, progress))
    return {
        "preset": preset.name,
        "trained": checkpoint.card.trained,
        "graphs": graphs,
        "releases": releases,
    }


def _measure_graph(
    trt: ModuleType,
    checkpoint: Checkpoint,
    model: Model,
    compared: dict[str, Tensor],
    folder: Path,
    progress: Progress,
) -> Iterator[Record]:
    preset = checkpoint.organ_seg.preset
    module = graph_modules(checkpoint.organ_seg)[model.name]
    for precision in Precision:
        path = _file(folder, model.name, precision)
        if precision is not Precision.FP32:
            lower_file(_file(folder, model.name, Precision.FP32), precision, path)
        with progress.step(f"compare {model.name} in {precision.value}"):
            (parity,) = compare_graph(
                path, module, model, [compared], checkpoint.cache.thresholds, precision
            )
        with progress.step(f"compile {model.name} in {precision.value}"):
            engines = [_compile(trt, path, model, preset, each) for each in CAPABILITIES]
        yield {
            "graph": model.name,
            "precision": precision.value,
            "megabytes": file_bytes(path) / 1e6,
            "relative_difference": parity.relative_difference,
            "holds": parity.holds,
            "engines": engines,
        }


def _compile(trt: ModuleType, path: Path, model: Model, preset: Preset, capability: str) -> Record:
    """One engine; where TensorRT-RTX refuses the graph, its words."""
    started = time.perf_counter()
    try:
        plan = compile_plan(
            trt,
            path,
            tensorrt_profile(preset, model),
            compute_capability=capability,
        )
    except EngineError as error:
        return {"capability": capability, "refused": str(error)}
    return {
        "capability": capability,
        "seconds": time.perf_counter() - started,
        "megabytes": len(plan.engine) / 1e6,
    }


def _ask(
    checkpoint: Checkpoint, graphs: list[Record], folder: Path, progress: Progress
) -> Iterator[Record]:
    """What users would notice: of a release in each precision, and of each graph alone in it."""
    names = list(dict.fromkeys(graph["graph"] for graph in graphs))
    asked = {each.value: {name: each.of_stage(name) for name in names} for each in Precision}
    for precision in (Precision.BF16, Precision.FP16):
        for alone in names:
            asked[f"{precision.value} in `{alone}` alone"] = {
                name: precision if name == alone else Precision.FP32 for name in names
            }
    for label, precisions in asked.items():
        files = {name: (_file(folder, name, each), each) for name, each in precisions.items()}
        with progress.step(f"ask in {label}"):
            found = accept(checkpoint.organ_seg, cpu_sessions(files), checkpoint.cache.thresholds)
        yield {"precision": label, "holds": found.holds, **asdict(found)}


def _file(folder: Path, name: str, precision: Precision) -> Path:
    return folder / f"{name}.{precision.value}.onnx"


def render(record: Record) -> str:
    """The report as Markdown."""
    weights = "the weights of this repository" if record["trained"] else "random weights"
    lines = [
        f"# Precision of `{record['preset']}`",
        "",
        f"With {weights}. Difference from float32 torch: the largest, "
        "as a share of the output's largest value or of one. Half precision is run with explicit "
        "rounding on a CPU ([decision 14](../../decisions/0014-precision-in-the-graph.md)). "
        "Engines are TensorRT-RTX's, compiled without a GPU and not run.",
        "",
        "| graph | precision | ONNX | difference |"
        + "".join(f" engine for SM {each} |" for each in CAPABILITIES),
        "|---|---|--:|--:|" + "--:|" * len(CAPABILITIES),
    ]
    for row in record["graphs"]:
        engines = "".join(f" {_engine_text(each)} |" for each in row["engines"])
        lines.append(
            f"| `{row['graph']}` | {row['precision']} | {row['megabytes']:.1f} MB "
            f"| {row['relative_difference']:.1e}{'' if row['holds'] else ' (too much)'} |{engines}"
        )
    if record["releases"]:
        lines += [
            "",
            "What users would notice: of a release in each precision (`bf16` has the image encoder "
            "alone in it), and of each graph alone. A release has to keep every verdict, and every "
            f"mask at a Dice of {LEAST_DICE}.",
            "",
            "| release | requests | other verdicts | masks | least Dice | mean Dice | accepted |",
            "|---|--:|--:|--:|--:|--:|---|",
        ]
    for row in record["releases"]:
        accepted = "yes" if row["holds"] else "no"
        lines.append(
            f"| {row['precision']} | {row['requests']} | {row['other_verdicts']} | {row['masks']} "
            f"| {row['least_dice']:.4f} | {row['mean_dice']:.4f} | {accepted} |"
        )
    provenance = record["provenance"]
    lines += [
        "",
        f"`{provenance['command']}`, commit {provenance['commit']}, "
        f"{provenance['machine']}, {provenance['packages']}.",
    ]
    return "\n".join(lines) + "\n"


def _engine_text(engine: Record) -> str:
    if "refused" in engine:
        return "refused"
    return f"{engine['megabytes']:.1f} MB in {engine['seconds']:.1f} s"


if __name__ == "__main__":
    sys.exit(main())
