"""Records of the model as Markdown: what a plan says, and how a check came out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

Record = Mapping[str, Any]

_PLACES = {
    ("shared", "least busy"): "any server, all know what one has kept (not built: a bound)",
    ("sticky", "least busy"): "**sticky**, sessions placed at the least busy server",
    ("sticky", "random"): "sticky, sessions placed at random",
    ("any", "least busy"): "any server, the least busy",
    ("any", "random"): "any server, at random",
}
_FIGURES = (("per_s", "answers/s", 2), ("p50_ms", "p50 ms", 0), ("p95_ms", "p95 ms", 0))


def plan_text(record: Record) -> str:
    """How many servers, what limits them, what reuse saves and what stickiness costs."""
    question, outcome = record["question"], record["outcome"]
    hit = question["hit_rate"]
    follow_ups = (
        f", {hit:.0%} of them follow-ups ({question['stickiness']}, "
        f"{question['think_ms'] / 1e3:g} s from answer to question)"
        if hit
        else ", every image new"
    )
    machine = f"{question['cores']:g} cores" + (
        f" and {question['gpus']:g} GPU{'s' if question['gpus'] > 1 else ''}"
        if question["gpus"]
        else ""
    )
    count = record["servers"]
    said = [
        f"**{question['rate_per_s']:g} requests/s{follow_ups}, p95 within {question['p95_ms']:g} "
        f"ms: {count} server{'s' if count > 1 else ''}**, each on {machine} of its own"
        + (f", that is {count * question['gpus']:g} GPUs in all." if question["gpus"] else "."),
        "",
        f"Then p50 {outcome['p50_ms']:.0f} ms, p95 {outcome['p95_ms']:.0f} ms, in use: "
        + ", ".join(f"{pool} {share:.0%}" for pool, share in outcome["busy"].items())
        + f"; a lone request takes {record['unloaded_ms']:.0f} ms, a lone follow-up "
        f"{record['unloaded_kept_ms']:.0f} ms.",
    ]
    if record["servers_without_reuse"] is not None:
        said[-1] += (
            f" If nothing were kept, {record['servers_without_reuse']} servers would be wanted."
        )
    said += ["", f"Stage times: {record['source']}. `{record['command']}`", ""]
    return "\n".join([*said, *_bottlenecks(record), *_curve(record), *_stickiness(record)]).strip()


def _bottlenecks(record: Record) -> Iterable[str]:
    yield from (
        "What limits one server, and what does next when just that is added:",
        "",
        "| server | limited by | requests/s at most, full batches | single requests |",
        "|---|---|--:|--:|",
    )
    for step in record["bottlenecks"]:
        yield (
            f"| {step['added']} | `{step['bottleneck']}` | {step['per_s']:.1f} "
            f"| {step['single_per_s']:.1f} |"
        )
    yield ""


def _curve(record: Record) -> Iterable[str]:
    yield from (
        f"Servers for other rates, p95 within {record['question']['p95_ms']:g} ms:",
        "",
        "| requests/s | servers | p95 ms |",
        "|--:|--:|--:|",
    )
    for point in record["curve"]:
        yield f"| {point['rate_per_s']:g} | {point['servers']} | {point['p95_ms']:.0f} |"
    yield ""


def _stickiness(record: Record) -> Iterable[str]:
    if not record["stickiness"]:
        return
    yield from (
        f"Where requests go, {record['servers']} servers, the same load:",
        "",
        "| follow-ups go to | hits | p50 ms | p95 ms | busiest pool |",
        "|---|--:|--:|--:|--:|",
    )
    for row in record["stickiness"]:
        yield (
            f"| {_PLACES[row['stickiness'], row['placement']]} | {row['hit_rate']:.0%} "
            f"| {row['p50_ms']:.0f} | {row['p95_ms']:.0f} | {max(row['busy'].values()):.0%} |"
        )
    yield ""


def check_text(record: Record) -> str:
    """The model beside the measurement, for every number of servers and users."""
    machine = record["machine"]
    lines = [
        f"Preset `{record['server']['preset']}` on {machine['cpu']}, {machine['cores']} cores, "
        f"load {machine['load_average_1_min']} before; servers, users and their clients share "
        "them. Closed loop, every image new; medians of the windows. Ratio: predicted / measured.",
        "",
        "| servers | users | windows | "
        + " | ".join(f"{title} | predicted | ratio" for _, title, _ in _FIGURES)
        + " |",
        "|--:|--:|--:|" + "--:|" * 3 * len(_FIGURES),
    ]
    for row in record["check"]:
        cells = []
        for name, _, digits in _FIGURES:
            ratio = row["ratio"][name]
            cells.append(
                f"{row['measured'][name]:.{digits}f} | {row['predicted'][name]:.{digits}f} | "
                + ("–" if ratio is None else f"{ratio:.2f}")
            )
        lines.append(
            f"| {row['servers']} | {row['users']} | {row['windows']} | {' | '.join(cells)} |"
        )
    lines += [
        "",
        "What batches cost, each stage alone:",
        "",
        "| stage | "
        + " | ".join(f"batch of {size}" for size, _ in record["batches"][0]["times_ms"])
        + " | once a batch | follow-up |",
        "|---|" + "--:|" * (len(record["batches"][0]["times_ms"]) + 2),
    ]
    for row in record["batches"]:
        times = " | ".join(f"{time:.1f} ms" for _, time in row["times_ms"])
        kept = "–" if row["kept_share"] is None else f"{row['kept_share']:.0%}"
        lines.append(f"| `{row['stage']}` | {times} | {row['fixed_share']:.0%} | {kept} |")
    errors = sum(row["errors"] for row in record["check"])
    if errors:
        lines += ["", f"**{errors} requests failed or were turned away.**"]
    commit = record["commit"]
    lines += [
        "",
        f"`{record['command']}`, commit {commit['id'][:12] if commit else 'unknown'}"
        + (" with changes" if commit and commit["modified"] else "")
        + f", {record['made']}.",
    ]
    return "\n".join(lines)
