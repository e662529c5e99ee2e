"""The flow in the release's own graphs and engines, in this process, stage by stage.

The language model is the server's own stage, the graphs run in the engines that the release's
configs name. No stage batches, keeps or queues anything: this is what a request costs by itself.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.critical_path import longest_path
from benchmarks.peers.torch_flow import assembled
from benchmarks.peers.weights import release_preset
from organseg.contract import Model, Platform, graph_stages, language_model_in, names
from organseg.contract.pbtxt import parse_config
from organseg.imaging.postprocess import Answer
from organseg.imaging.preprocess import PreparedRequest, prepare
from organseg.networks.context_cache import FILE_NAME, load_context_cache
from organseg.networks.gate import decide
from organseg.serving.engine_choice import engines_for, load_graph
from organseg.serving.graph_engine import GraphEngine
from organseg.serving.manifest import MODELS_FOLDER
from organseg.serving.stage import Arrays, StageContext, StageRequest
from organseg.serving.stages.llava_med import LlavaMedStage
from organseg.serving.threads import engine_threads

Times = dict[str, float]
"""Milliseconds by stage."""

_VERSION = "1"


class GraphFlow:
    """The stages of one release; several threads may ask at once, an engine serves one."""

    def __init__(self, release: Path, threads: int | None) -> None:
        """Loads every stage with `threads` threads, or with those of the release's configs."""
        self.preset = release_preset(release)
        models = release / MODELS_FOLDER
        parameters = {
            name: _parameters(models / name)
            for name in ("llava_med", *(model.name for model in graph_stages(self.preset)))
        }

        def threads_of(name: str) -> int:
            return threads or engine_threads(parameters[name])

        self._graphs: dict[str, GraphEngine] = {}
        for model in graph_stages(self.preset):
            self._graphs[model.name] = load_graph(
                models / model.name / _VERSION / Platform.PYTHON.graph_file,
                engines_for(model.name, parameters[model.name]),
                threads=threads_of(model.name),
            )
        # An engine keeps one request's memory: a second one waits for the first.
        self._turns = {name: threading.Lock() for name in self._graphs}
        folder = models / "llava_med" / _VERSION
        context = StageContext(
            preset=self.preset,
            folder=folder,
            threads=threads_of("llava_med"),
            language_model=language_model_in(parameters["llava_med"]),
            engines=engines_for("llava_med", parameters["llava_med"]),
        )
        # The server's own stage, keeping nothing: every image is another one.
        self._language_model = LlavaMedStage(context)
        cache = load_context_cache(models / "gate" / _VERSION / FILE_NAME)
        self._thresholds = cache.thresholds

    def prepare(self, image: bytes, question: bytes) -> PreparedRequest:
        """What can be done before the model's turn; raises `InvalidInputError`."""
        return prepare(image, question, None, self.preset)

    def answer(self, prepared: PreparedRequest) -> Answer:
        """The answer to one prepared request."""
        return self._walk(prepared, {})

    def timed(self, image: bytes, question: bytes) -> tuple[Answer, Times]:
        """The answer, and each stage's milliseconds, one stage after the other."""
        times: Times = {}
        with _Clock(times, "preprocess"):
            prepared = self.prepare(image, question)
        return self._walk(prepared, times), times

    def _walk(self, request: PreparedRequest, times: Times) -> Answer:
        with _Clock(times, "image_encoder"):
            embeddings = self._run(
                "image_encoder", {names.SAM_PIXELS: request.sam_pixels[np.newaxis]}
            )
        with _Clock(times, "llava_med"):
            states = self._language(request)
        with _Clock(times, "extractors"):
            found = self._run("extractors", states)
        with _Clock(times, "gate"):
            decision = decide(
                found[names.SIMILARITY][0],
                found[names.PRESENCE][0],
                found[names.BOXES][0],
                image_is_blank=bool(request.image_is_blank.item()),
                thresholds=self._thresholds,
            )
        with _Clock(times, "mask_decoder"):
            drawn = self._run(
                "mask_decoder",
                {**embeddings, names.PROMPT_BOXES: decision.prompt_boxes[np.newaxis]},
            )
        with _Clock(times, "postprocess"):
            return assembled(
                request, decision, drawn[names.LOW_RES_MASKS][0], drawn[names.MASK_QUALITY][0]
            )

    def _run(self, stage: str, inputs: Arrays) -> Arrays:
        with self._turns[stage]:
            return self._graphs[stage].infer(inputs)

    def _language(self, request: PreparedRequest) -> Arrays:
        inputs: Arrays = {
            names.IMAGE_KEY: request.image_key[np.newaxis],
            names.VLM_PIXELS: request.vlm_pixels[np.newaxis],
            names.QUESTION: np.array([[request.question.encode()]], dtype=np.object_),
        }
        (states,) = self._language_model.run_joined([StageRequest(inputs)])
        return {name: states[name] for name in (names.ANSWER_STATE, names.PATCH_STATES)}


@dataclass(frozen=True)
class PathTimes:
    """What requests cost in process, one after the other."""

    stages_ms: Mapping[str, float]
    """The mean milliseconds of each stage."""
    path: tuple[str, ...]
    """The stages of the critical path: its two branches would run side by side."""
    cpu_s_per_request: float
    """Processor seconds of a request, over all threads."""

    @property
    def critical_path_ms(self) -> float:
        """The milliseconds of a request whose branches would run side by side."""
        return sum(self.stages_ms[name] for name in self.path)


def path_times(
    times: Sequence[Times], models: Sequence[Model], cpu_s_per_request: float
) -> PathTimes:
    """The critical path of timed requests; `models` in the order in which data walks them."""
    means = {name: float(np.mean([each[name] for each in times])) for name in times[0]}
    # What keeps or passes on between the stages has no part here.
    stages = [model for model in models if model.name in means]
    return PathTimes(means, longest_path(means, stages), cpu_s_per_request)


class _Clock:
    """Adds a block's milliseconds to the times."""

    def __init__(self, times: Times, stage: str) -> None:
        self._times, self._stage = times, stage
        self._started = 0.0

    def __enter__(self) -> None:
        self._started = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self._times[self._stage] = 1000 * (time.perf_counter() - self._started)


def _parameters(folder: Path) -> dict[str, str]:
    config = parse_config((folder / "config.pbtxt").read_text(encoding="utf-8"))
    return {key: value.string_value for key, value in config.parameters.items()}
