"""The record as Markdown: every time beside its floor, the targets, and what was left out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Record = Mapping[str, Any]
_GIGA = 1e9


def render(record: Record) -> str:
    """The report of one record."""
    return "\n".join(
        [
            f"# `{record['preset']}` on {_device_name(record)}",
            "",
            *_origin(record),
            *_targets(record),
            *_times(record),
            *_work(record),
            *_skipped(record),
        ]
    )


def _device_name(record: Record) -> str:
    device = record["device"]
    return str(device.get("gpu", record["machine"]["cpu"]))


def _origin(record: Record) -> Iterator[str]:
    device, commit, rounds = record["device"], record["commit"], record["rounds"]
    made = record["made"]
    code = "unknown" if commit is None else commit["id"][:12]
    changed = " with changes" if commit and commit["modified"] else ""
    packages = ", ".join(f"{name} {version}" for name, version in record["packages"].items())
    details = ", ".join(
        f"{name.replace('_', ' ')} {value}"
        for name, value in device.items()
        if name not in ("gpu", "gpus", "kind") and value is not None
    )
    yield (
        f"Random weights; {record['precision']} graphs, language model in "
        f"{record['language_dtype']}; {record['prompts']} asked organ a request. Milliseconds by "
        f"the host's clock from an idle device to an idle device, {rounds['timed']} calls each "
        f"after {rounds['warm_up']}, engines in turn. Measured {made}, commit {code}{changed}; "
        f"{details}; {packages}."
    )
    yield ""
    chip = record["chip"]
    if chip is None:
        yield (
            "**No floors:** the rates of this device are not in the table "
            "(`benchmarks/gpu/chips.py`)."
        )
    else:
        yield (
            f"Floors are those of the {chip['name']}: the longer of operations over its dense rate "
            f"(bf16 {_rate(chip['bf16_tflops'])}, fp16 {_rate(chip['fp16_tflops'])}, fp32 "
            f"{_rate(chip['fp32_tflops'])} TFLOP/s) and bytes over its bandwidth "
            f"({chip['bandwidth_gb_per_s']:.0f} GB/s). *Of floor*: the floor's share of the "
            "median, 100 % where the chip was used in full."
        )
    yield ""


def _rate(tflops: float | None) -> str:
    return "none" if tflops is None else f"{tflops:g}"


def _targets(record: Record) -> Iterator[str]:
    if not record["targets"]:
        yield from ("No target speaks of models of these sizes.", "")
        return
    yield from (
        "## Targets, one H200, batch 1, median of the fastest way",
        "",
        "| target | at most | measured | |",
        "|---|--:|--:|---|",
    )
    for target in record["targets"]:
        yield (
            f"| {target['title']} | {target['limit_ms']:g} ms | {_ms(target['measured_ms'])} "
            f"| {target['outcome']} |"
        )
    yield ""


def _times(record: Record) -> Iterator[str]:
    tokens = record["prompt_tokens"]
    yield from ("## Times", "")
    if tokens:
        yield from (
            f"Prompts of {tokens['prompt']} tokens, {tokens['prefix']} of them before the "
            f"question; follow-ups are padded to {tokens['follow_up']}.",
            "",
        )
    if not record["stages"]:
        yield from ("Nothing was measured.", "")
        return
    yield from (
        "| stage | batch | engine | precision | p50 | p95 | calls | floor | bound by | of floor "
        "| torch's peak | in use |",
        "|---|--:|---|---|--:|--:|--:|--:|---|--:|--:|--:|",
    )
    for row in record["stages"]:
        floor = row["floor"]
        measured = row["milliseconds"]
        reckoned = (
            f"{_ms(floor['milliseconds'])} | {floor['bound_by']} | {floor['percent']:.0f} %"
            if floor
            else "– | – | –"
        )
        yield (
            f"| `{row['stage']}` | {row['batch']} | {row['engine']} | {row['precision']} "
            f"| {_ms(measured['p50'])} | {_ms(measured['p95'])} | {row['calls']} | {reckoned} "
            f"| {_gigabytes(row['peak_memory_bytes'])} | {_gigabytes(row['used_memory_bytes'])} |"
        )
    yield ""


def _work(record: Record) -> Iterator[str]:
    if not record["work"]:
        return
    yield from (
        "## What a call has to do",
        "",
        "Counted from the modules: products and convolutions; weights once, inputs and outputs of "
        "the stage (of a follow-up the kept keys and values).",
        "",
        "| stage | batch | precision | GFLOP | weights | activations |",
        "|---|--:|---|--:|--:|--:|",
    )
    for row in record["work"]:
        yield (
            f"| `{row['stage']}` | {row['batch']} | {row['precision']} "
            f"| {row['operations'] / _GIGA:.1f} | {row['weight_bytes'] / 1e6:.1f} MB "
            f"| {row['activation_bytes'] / 1e6:.1f} MB |"
        )
    yield ""


def _skipped(record: Record) -> Iterator[str]:
    if not record["skipped"]:
        return
    yield from ("## Left out", "")
    for each in record["skipped"]:
        yield f"- {each['what']}: {each['reason']}"
    yield ""


def _ms(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" if value < 1 else f"{value:.2f}"


def _gigabytes(value: int | None) -> str:
    return "–" if value is None else f"{value / _GIGA:.2f} GB"
