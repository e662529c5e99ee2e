"""`python -m export.language_model_report`: what users notice of the language model's weights.

For each type of weights: the room they take, and the verdicts and masks of a release in it, with
float32 graphs and with those of half precision. Trained weights alone can say. Writes PRESET.json,
the record, and PRESET.md, rendered from it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from export.__main__ import SHIPPED
from export.acceptance import LEAST_DICE, accept
from export.graphs import export_graph
from export.language_model import served_as
from export.parity import cpu_sessions
from export.precision import Precision, lower_file
from export.progress import Progress
from export.report_files import Record, report_parser, run_report
from export.samples import flow_inputs, inputs_of
from organseg.contract import LanguageModelWeights, graph_stages, preset_by_name
from organseg.errors import ReleaseError
from organseg.networks.checkpoint import Checkpoint, load_checkpoint
from organseg.networks.lora import merge_adapter
from organseg.networks.stages import graph_modules
from organseg.networks.vision_language import VisionLanguage

PACKAGES = ("torch", "transformers", "bitsandbytes", "onnxruntime", "numpy")
"""Packages whose versions a record names."""
HALF_PRECISION = (
    LanguageModelWeights.BF16,
    LanguageModelWeights.FP16,
    LanguageModelWeights.INT8,
)
"""Weights that are also asked beside graphs in half precision."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures and writes; gives the exit status."""
    parser = report_parser("export.language_model_report", __doc__.splitlines()[0])
    parser.add_argument("--checkpoint", type=Path, help="folder with trained weights")
    return run_report(parser, arguments, _measure_weights, render, PACKAGES)


def _measure_weights(options: argparse.Namespace) -> Record:
    preset = preset_by_name(options.preset)
    return measure(load_checkpoint(options.checkpoint or SHIPPED / preset.name, preset), Progress())


def measure(checkpoint: Checkpoint, progress: Progress) -> Record:
    """Everything that the report says, as plain values; an adapter is merged in place.

    Raises `ReleaseError` for untrained weights, whose masks any rounding moves.
    """
    if not checkpoint.card.trained:
        raise ReleaseError(
            "wanted trained weights to ask, got random ones, of whose masks nothing can be said: "
            "give --checkpoint"
        )
    merge_adapter(checkpoint.organ_seg.vision_language)
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        with progress.step("export the graphs"):
            graphs = _write_graphs(checkpoint, Path(temporary))
        for weights in LanguageModelWeights:
            served = served_as(checkpoint.organ_seg.vision_language, weights)
            for precision in Precision:
                if precision is not Precision.FP32 and weights not in HALF_PRECISION:
                    continue
                with progress.step(f"ask {weights.value} with graphs in {precision.value}"):
                    found = accept(
                        checkpoint.organ_seg,
                        cpu_sessions(graphs[precision]),
                        checkpoint.cache.thresholds,
                        served=served,
                    )
                rows.append(
                    {
                        "weights": weights.value,
                        "graphs": precision.value,
                        "megabytes": kept_bytes(served) / 1e6,
                        "holds": found.holds,
                        **asdict(found),
                    }
                )
    return {"preset": checkpoint.card.preset, "rows": rows}


def kept_bytes(vision_language: VisionLanguage) -> int:
    """Bytes of a model's weights as they are kept, the head and quantisation's scales included."""
    return sum(_tensor_bytes(vision_language))


def _tensor_bytes(vision_language: VisionLanguage) -> Iterator[int]:
    for weight in (*vision_language.parameters(), *vision_language.buffers()):
        yield weight.numel() * weight.element_size()
        state = getattr(weight, "quant_state", None)
        if state is not None:
            # NF4: a scale of every block, itself rounded to 8 bits, with its own scales.
            yield state.absmax.numel() * state.absmax.element_size()
            yield state.state2.absmax.numel() * state.state2.absmax.element_size()


def _write_graphs(
    checkpoint: Checkpoint, folder: Path
) -> dict[Precision, dict[str, tuple[Path, Precision]]]:
    """The files of the graphs of a release in each precision, by stage."""
    organ_seg = checkpoint.organ_seg
    # Two to trace with: a batch of one would be burnt into a graph.
    traced = flow_inputs(organ_seg, 2)
    files: dict[Precision, dict[str, tuple[Path, Precision]]] = {each: {} for each in Precision}
    for model in graph_stages(organ_seg.preset):
        whole = folder / f"{model.name}.{Precision.FP32.value}.onnx"
        export_graph(
            graph_modules(organ_seg)[model.name],
            model,
            organ_seg.preset,
            inputs_of(model, traced),
            whole,
            metadata={},
        )
        for release in Precision:
            own = release.of_stage(model.name)
            path = folder / f"{model.name}.{own.value}.onnx"
            if not path.is_file():
                lower_file(whole, own, path)
            files[release][model.name] = (path, own)
    return files


def render(record: Record) -> str:
    """The report as Markdown."""
    lines = [
        f"# Weights of the language model of `{record['preset']}`",
        "",
        "What users would notice of a release, against float32 torch: the language model computed "
        "on a CPU as it is served ([decision 16]"
        "(../../decisions/0016-quantised-language-model.md)), beside the graphs in each precision. "
        f"A release has to keep every verdict, and every mask at a Dice of {LEAST_DICE}.",
        "",
        "| weights | all kept | graphs | requests | other verdicts | masks | least Dice "
        "| mean Dice | accepted |",
        "|---|--:|---|--:|--:|--:|--:|--:|---|",
    ]
    for row in record["rows"]:
        lines.append(
            f"| {row['weights']} | {row['megabytes']:.1f} MB | {row['graphs']} | {row['requests']} "
            f"| {row['other_verdicts']} | {row['masks']} | {row['least_dice']:.4f} "
            f"| {row['mean_dice']:.4f} | {'yes' if row['holds'] else 'no'} |"
        )
    provenance = record["provenance"]
    lines += [
        "",
        f"`{provenance['command']}`, commit {provenance['commit']}, "
        f"{provenance['machine']}, {provenance['packages']}.",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
