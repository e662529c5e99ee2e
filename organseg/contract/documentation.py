"""Renders `docs/contract.md`: the tensors of every model as tables."""

from __future__ import annotations

from collections.abc import Iterable

from organseg.contract.deployment import Platform, StageDeployment, deployment_of
from organseg.contract.ensembles import ENSEMBLE_NAME, Ensemble, ensembles_of
from organseg.contract.explanation import served_models
from organseg.contract.facts import Fact
from organseg.contract.language_model import LanguageModelWeights
from organseg.contract.memory import stage_weight_bytes
from organseg.contract.models import EXPLAIN_NAME, FEATURES_NAME, Model
from organseg.contract.presets import PRESETS, TINY, Preset
from organseg.contract.tensors import Tensor
from organseg.contract.verdicts import PROMPT_COUNTS, Verdict
from organseg.contract.version import CONTRACT_PARAMETER, CONTRACT_VERSION
from organseg.organs import ANSWERS

_INTRODUCTION = """<!-- Rendered by `make contract`; edit organseg/contract instead. -->
# The tensor contract

Contract version `{version}`. Sizes below are the `tiny` preset's; other presets differ in the
numbers of the static axes alone. Every tensor has a batch axis in front, which is 1 in a
request (one request is one image and one question); `a..b` is a dynamic axis.

A client asks an ensemble, which is a walk through some of the stages. A tensor flows from the
stage that writes it to every later one that reads it, under one name; an optional input that no
earlier stage writes is left out. `image_features` and `llava_med` run side by side.
`{features}` asks `image_encoder` for the images that it does not know; a release that was exported
with `--image-features direct` has `image_encoder` in its place, keeps nothing, and has no sessions.
`{beside}`, the last, stands beside the flow: it is called by itself, in a stream, with what
the ensemble was given and what it answered, and a release may leave it out.
"""

_MACHINES = (
    "The numbers for a CPU are for two cores; "
    "[a file](deployment-table.md) changes them for another machine.\n"
)


def render_documentation() -> str:
    """The whole page as Markdown, ending in a newline."""
    parts = [
        _INTRODUCTION.format(version=CONTRACT_VERSION, beside=EXPLAIN_NAME, features=FEATURES_NAME),
        *(part for ensemble in ensembles_of(TINY) for part in _ensemble(ensemble)),
        "### Verdicts\n",
        *(f"- `{verdict.value}` (code {verdict.code})" for verdict in Verdict),
        "\n### Organ ids and answer letters\n",
        "| id | letter | organ |\n|---|---|---|\n"
        + "\n".join(f"| {organ.id} | {organ.letter} | {organ.name} |" for organ in ANSWERS)
        + "\n",
        "### What a server says of itself\n",
        f"Parameters of the configuration of `{ENSEMBLE_NAME}`, each a string; no part of the "
        "contract version.\n",
        "| parameter | what it says |\n|---|---|\n"
        f"| `{CONTRACT_PARAMETER}` | the version above; clients compare it when they connect |\n"
        + "\n".join(f"| `{fact.parameter}` | {fact.doc} |" for fact in Fact)
        + "\n",
        f"Inside the flow the number of prompts K is padded to one of "
        f"{', '.join(map(str, PROMPT_COUNTS))}; padding has organ id and verdict code 0.\n",
    ]
    for model in served_models(TINY):
        parts += [
            f"## `{model.name}`\n",
            f"{model.doc} ({model.kind.value})\n",
            tensor_table("reads", model.inputs),
            tensor_table("writes", model.outputs),
        ]
    parts += [
        "## Deployment\n",
        _MACHINES,
        *(_deployment_table(preset) for preset in PRESETS.values()),
    ]
    return "\n".join(parts)


def _ensemble(ensemble: Ensemble) -> list[str]:
    walk = " → ".join(f"`{model.name}`" for model in ensemble.stages)
    return [
        f"## `{ensemble.name}`: what a client sends and receives\n",
        f"{ensemble.doc} {walk}\n",
        tensor_table("sent", ensemble.inputs),
        tensor_table("received", ensemble.outputs),
    ]


def _shape(tensor: Tensor) -> str:
    sizes = (str(axis.max) if axis.is_static else f"{axis.min}..{axis.max}" for axis in tensor.axes)
    return " × ".join(sizes)


def tensor_table(role: str, tensors: Iterable[Tensor]) -> str:
    """A Markdown table of tensors without their batch axis, ending in a newline."""
    rows = [
        f"| `{t.name}`{' (optional)' if t.optional else ''} | {t.dtype.value} | {_shape(t)} "
        f"| {', '.join(axis.name for axis in t.axes)} | {t.doc} |"
        for t in tensors
    ]
    return "\n".join(
        [f"| {role} | type | shape | axes | meaning |", "|---|---|---|---|---|", *rows, ""]
    )


def _deployment_table(preset: Preset) -> str:
    lines = [
        f"### `{preset.name}`: at most {preset.max_batch} requests a batch\n",
        "| model | platform | placed on | engines, best first | weights | their memory | read "
        "| instances | threads | waits for company | rejects after | keeps at most |",
        "|---|---|---|---|---|--:|---|---|---|---|---|--:|",
    ]
    for model in served_models(preset):
        for platform in Platform:
            row = deployment_of(preset, platform, model)
            lines.append(
                f"| {model.name} | {platform.value} | {'GPU' if row.on_gpu else 'CPU'} "
                f"| {', '.join(engine.value for engine in row.engines)} "
                f"| {row.language_model.weights.value if row.language_model else ''} "
                f"| {_weights(preset, model, row)} "
                f"| {row.instances} | {row.threads} "
                f"| {row.queue_delay_microseconds / 1000:g} ms "
                f"| {_limit(row)} "
                f"| {_kept(row)} |"
            )
    return "\n".join([*lines, ""])


def _limit(row: StageDeployment) -> str:
    microseconds = row.queue_timeout_microseconds
    return "never" if microseconds is None else f"{microseconds / 1e6:g} s"


def _kept(row: StageDeployment) -> str:
    if row.sessions:
        return f"{row.sessions.handles} handles for {row.sessions.lifetime_s:g} s"
    return f"{row.kept_bytes / 2**20:,.0f} MiB" if row.kept_bytes else ""


def _weights(preset: Preset, model: Model, row: StageDeployment) -> str:
    """The memory that a model's weights take, and when they are read, as two cells."""
    kept = row.language_model.weights if row.language_model else LanguageModelWeights.FP32
    size = stage_weight_bytes(preset, model.name, kept)
    return f"{size / 2**20:,.0f} MiB | {row.loading.value.replace('_', ' ')}" if size else " | "
