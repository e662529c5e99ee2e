"""Measures the parts that a plan names, one after the other, into one record.

A part or engine that cannot run here is left out with its reason; the others go on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.gpu.device import CudaDevice, Device
from benchmarks.gpu.engines import random_inputs
from benchmarks.gpu.floors import Work, floor_of
from benchmarks.gpu.graphs import export_stages, widened
from benchmarks.gpu.language import EAGER, LanguageCalls
from benchmarks.gpu.models import random_organ_seg
from benchmarks.gpu.options import Part, Plan
from benchmarks.gpu.registry import ENGINES
from benchmarks.gpu.request import Flow
from benchmarks.gpu.rows import Row, floor_values, request_floor, stage_row, work_row
from benchmarks.gpu.server import ask_all, served
from benchmarks.gpu.targets import REQUEST, judge, targets_of
from benchmarks.gpu.timing import Skipped, Timing, reason_of, time_in_turn
from benchmarks.gpu.work import FOLLOW_UP, LANGUAGE_STAGE, PROMPTS, WorkCounter
from benchmarks.workload import make_workload
from export.precision import Precision
from export.progress import Progress
from organseg.networks.context_cache import default_context_cache
from organseg.networks.organ_seg import OrganSeg

AGAIN = "request_again"
"""The name under which a whole request about an image that was read before is recorded."""
SERVED = "request_served"
"""The name under which a request through the embedded server is recorded."""


@dataclass
class _Found:
    """What has been measured so far."""

    rows: list[Row] = field(default_factory=list)
    work: list[Row] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    prompt_tokens: dict[str, int] = field(default_factory=dict)


class Bench:
    """One run on one device."""

    def __init__(self, plan: Plan, device: Device, progress: Progress) -> None:
        """Counts nothing yet and loads nothing yet."""
        self._plan, self._device, self._progress = plan, device, progress
        self._precision = plan.precision or device.half
        # Of what the language model's floor is reckoned from.
        halves = device.language_dtype.itemsize == 2
        self._language_precision = Precision.BF16 if halves else Precision.FP32
        self._found = _Found()

    def run(self) -> dict[str, Any]:
        """Measures all parts; the record's part that is not about the machine.

        Raises `EngineError` where the preset does not fit into the device's memory.
        """
        plan, found = self._plan, self._found
        device = self._device.describe()
        with self._progress.step("count operations and bytes"):
            self._counter = WorkCounter(plan.preset, self._device.language_dtype)
        if plan.parts != (Part.SERVER,):
            with self._progress.step("make random models on the device"):
                organ_seg = random_organ_seg(plan.preset, self._device)
            self._measure(Part.STAGES, lambda: self._stages(organ_seg))
            self._measure(Part.LANGUAGE, lambda: self._language(organ_seg))
            self._measure(Part.REQUESTS, lambda: self._requests(organ_seg))
            del organ_seg
        self._measure(Part.SERVER, self._server)
        verdicts = judge(targets_of(plan.preset), found.rows, self._device.chip)
        return {
            "preset": plan.preset.name,
            "precision": self._precision.value,
            "language_dtype": str(self._device.language_dtype).removeprefix("torch."),
            "device": device,
            "chip": asdict(self._device.chip) if self._device.chip else None,
            "rounds": asdict(plan.rounds),
            "prompts": PROMPTS,
            "prompt_tokens": found.prompt_tokens,
            "stages": found.rows,
            "work": found.work,
            "targets": [
                {
                    "title": verdict.target.title,
                    "limit_ms": verdict.target.limit_ms,
                    "measured_ms": verdict.measured_ms,
                    "outcome": verdict.outcome.value,
                }
                for verdict in verdicts
            ],
            "skipped": [asdict(each) for each in found.skipped],
        }

    def _measure(self, part: Part, work: Callable[[], None]) -> None:
        """One part; a failure of it is noted and the next goes on."""
        if part not in self._plan.parts:
            self._skip(part.value, "not asked for (--parts)")
            return
        try:
            work()
        except Exception as error:  # whatever a library makes of this machine
            self._skip(part.value, reason_of(error))
        # Another process may need it: the server's.
        self._device.release_memory()

    def _skip(self, what: str, reason: str) -> None:
        self._found.skipped.append(Skipped(what, reason))

    def _stages(self, organ_seg: OrganSeg) -> None:
        plan, preset = self._plan, widened(self._plan.preset, max(self._plan.batches))
        with TemporaryDirectory(prefix="organseg-gpu-") as folder:
            with self._progress.step("export the graphs"):
                stages = export_stages(organ_seg, preset, self._precision, Path(folder))
            for name, stage in stages.items():
                engines = {}
                for engine in plan.engines:
                    with self._progress.step(f"load {name} into {engine}"):
                        try:
                            engines[engine] = ENGINES[engine](self._device, stage)
                        except Exception as error:  # every engine has errors of its own
                            self._skip(f"{name}, {engine}", reason_of(error))
                for batch in plan.batches:
                    inputs = random_inputs(stage.model, batch, PROMPTS, self._device.name)
                    calls = {}
                    for engine, loaded in engines.items():
                        try:
                            calls[engine] = loaded.bind(inputs)
                        except Exception as error:  # as above
                            self._skip(f"{name}, {engine}, batch {batch}", reason_of(error))
                    work = self._counter.graph_stage(name, batch, stage.precision)
                    self._found.work.append(work_row(name, batch, stage.precision, work))
                    for engine, timing in self._time(f"{name}, batch {batch}", calls):
                        self._add(name, engine, batch, stage.precision, timing, work)

    def _language(self, organ_seg: OrganSeg) -> None:
        preset, own = self._plan.preset, self._language_precision
        for batch in self._plan.batches:
            calls = LanguageCalls(organ_seg.vision_language, preset, self._device, batch)
            prefill = self._counter.prefill(batch, calls.tokens)
            again = self._counter.follow_up(batch, calls.room)
            self._found.prompt_tokens = {
                "prefix": self._counter.prefix_tokens,
                "prompt": calls.tokens,
                "follow_up": calls.room,
            }
            for stage, work in ((LANGUAGE_STAGE, prefill), (FOLLOW_UP, again)):
                self._found.work.append(work_row(stage, batch, own, work))
            for engine, timing in self._time(
                f"{LANGUAGE_STAGE}, batch {batch}", {EAGER: calls.prefill()}
            ):
                self._add(LANGUAGE_STAGE, engine, batch, own, timing, prefill)
            ready = {}
            for way, prepare in calls.follow_ups().items():
                try:
                    ready[way] = prepare()
                except Exception as error:  # as above
                    self._skip(f"{FOLLOW_UP}, {way}, batch {batch}", reason_of(error))
            for way, timing in self._time(f"{FOLLOW_UP}, batch {batch}", ready):
                self._add(FOLLOW_UP, way, batch, own, timing, again)

    def _requests(self, organ_seg: OrganSeg) -> None:
        rounds = self._plan.rounds
        thresholds = default_context_cache().thresholds
        flow = Flow(organ_seg, self._device, self._precision, thresholds)
        asked = make_workload(rounds.warm_up + rounds.timed).questions
        images, texts = cycle(asked), cycle(asked)
        flow.read(asked[0].image, asked[0].text)

        def about_a_new_image() -> object:
            question = next(images)
            return flow.answer(question.image, question.text)

        calls = {
            REQUEST: about_a_new_image,
            AGAIN: lambda: flow.answer_again(next(texts).text),
        }
        prompts = organ_seg.vision_language.prompts
        tokens = prompts.build([question.text for question in asked]).lengths
        floor = request_floor(
            {
                name: (work, self._precision_of(name))
                for name, work in self._counter.request(int(tokens.min()), self._precision).items()
            },
            self._device.chip,
        )
        for name, timing in self._time("whole requests", calls):
            row = stage_row(name, EAGER, 1, self._precision, timing, None)
            if name == REQUEST:
                row["floor"] = floor_values(floor, timing.latencies.p50)
            self._found.rows.append(row)

    def _server(self) -> None:
        rounds, release = self._plan.rounds, self._plan.release
        if release is None:
            self._skip(Part.SERVER.value, "no --release DIR to serve (`make export` makes one)")
            return
        on_cuda = isinstance(self._device, CudaDevice)
        # The answer to the call whose peak of memory is taken is one more.
        workload = make_workload(rounds.warm_up + rounds.timed + 1)
        with (
            self._progress.step("serve the release"),
            served(release, on_cuda=on_cuda) as address,
        ):
            steps: Iterator[None] = ask_all(address, workload)
            calls = {SERVED: lambda: next(steps)}
            for name, timing in self._time("requests through the server", calls):
                self._found.rows.append(
                    stage_row(name, "embedded server", 1, Precision.FP32, timing, None)
                )

    def _add(
        self, stage: str, engine: str, batch: int, precision: Precision, timing: Timing, work: Work
    ) -> None:
        floor = floor_of(work, self._device.chip, precision)
        self._found.rows.append(stage_row(stage, engine, batch, precision, timing, floor))

    def _precision_of(self, stage: str) -> Precision:
        if stage == LANGUAGE_STAGE:
            return self._language_precision
        return self._precision.of_stage(stage)

    def _time(
        self, what: str, calls: Mapping[str, Callable[[], object]]
    ) -> Iterator[tuple[str, Timing]]:
        with self._progress.step(f"time {what}"):
            timings, skipped = time_in_turn(self._device, calls, self._plan.rounds)
        # Else torch would stop at the ninth shape that it compiles one function for.
        self._device.release_memory()
        for each in skipped:
            self._skip(f"{what}, {each.what}", each.reason)
        yield from timings.items()
