"""The deployment table: how each stage is batched, queued, replicated, threaded and run.

One row a stage and platform. The numbers for CPU are for two cores, where the two branches of
a request share the machine: one thread for each branch, so nothing is oversubscribed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum

from organseg.contract.cpu_engines import CpuEngine, engines_of
from organseg.contract.keeping import (
    SESSION_LIMITS,
    ImageFeatures,
    SessionLimits,
    kept_bytes_of,
)
from organseg.contract.language_model import (
    LanguageModel,
    LanguageModelWeights,
    Placement,
    default_weights,
)
from organseg.contract.models import (
    EXPLAIN_NAME,
    FEATURES_NAME,
    SESSIONS_NAME,
    Model,
    ModelKind,
)
from organseg.contract.presets import LLAVA_MED_7B, MEDSAM, Preset
from organseg.errors import ContractError


class Platform(Enum):
    """What runs the exported graphs; the Python stages are the same on all."""

    PYTHON = "python"
    """The Python backend with a CPU engine (`cpu_engines`): what the embedded server has."""
    ONNXRUNTIME = "onnxruntime"
    """Triton's ONNX Runtime backend, on a GPU."""
    TENSORRT = "tensorrt"
    """Triton's TensorRT backend: engines built on the GPU that serves."""

    @property
    def has_gpu(self) -> bool:
        """Whether the platform's stages run on a GPU."""
        return self is not Platform.PYTHON

    @property
    def graph_file(self) -> str:
        """The file that a graph stage loads, in its version folder."""
        return "model.plan" if self is Platform.TENSORRT else "model.onnx"


class Loading(Enum):
    """When a stage reads its weights."""

    AT_START = "at_start"
    """Before the server is ready, so that the first request is as fast as the next."""
    ON_FIRST_REQUEST = "on_first_request"
    """When they are first needed, so that a server that nobody asks pays nothing."""

    @property
    def parameters(self) -> dict[str, str]:
        """What the stage's config says of it; nothing for the usual way."""
        return {} if self is Loading.AT_START else {LOADING_PARAMETER: self.value}


def loading_in(parameters: Mapping[str, str]) -> Loading:
    """What a stage's config says of its loading."""
    return Loading(parameters.get(LOADING_PARAMETER, Loading.AT_START.value))


LOADING_PARAMETER = "loading"
"""The parameter of a stage's config that says when weights are read."""


@dataclass(frozen=True)
class StageDeployment:
    """How one stage is deployed."""

    instances: int
    """Copies of the stage that work side by side."""
    threads: int
    """Threads of one instance's engine."""
    joins_requests: bool
    """Whether Triton joins waiting requests into one batch. A stage that works on one request at
    a time gains nothing by it, and a small request would wait for a large neighbour."""
    queue_delay_microseconds: int
    """How long a request may wait for others to join its batch."""
    queue_timeout_microseconds: int | None
    """How long a request may wait in all, before it is rejected; None for no limit of Triton's."""
    on_gpu: bool
    """Whether the instances are placed on a GPU."""
    warm_up: bool
    """Whether Triton runs one made-up request at start."""
    language_model: LanguageModel | None = None
    """How the language model is kept, for the stage that has it."""
    engines: tuple[CpuEngine, ...] = ()
    """What may run the stage's graph on a CPU, best first; none where Triton or Python runs it."""
    loading: Loading = Loading.AT_START
    """When the weights are read."""
    kept_bytes: int = 0
    """The most that the stage keeps of images between questions, bytes."""
    sessions: SessionLimits | None = None
    """How long and how many sessions are known, for the stage that knows them."""

    @property
    def spreads(self) -> bool:
        """Whether the stage chooses its GPUs itself, several of them."""
        return self.language_model is not None and (
            self.language_model.placement is Placement.SPREAD
        )


QUEUE_TIMEOUT_MICROSECONDS = 30_000_000

_CPU_STAGE = StageDeployment(
    instances=1,
    threads=1,
    joins_requests=False,
    queue_delay_microseconds=0,
    queue_timeout_microseconds=QUEUE_TIMEOUT_MICROSECONDS,
    on_gpu=False,
    warm_up=False,
)


PATIENT_QUEUE_TIMEOUT_MICROSECONDS = 300_000_000
"""For the stages around a full-size image encoder on a CPU: four to ten seconds an image."""


def deployment_of(
    preset: Preset,
    platform: Platform,
    model: Model,
    language_model: LanguageModel | None = None,
    image_features: ImageFeatures = ImageFeatures.REUSE,
) -> StageDeployment:
    """The row of the table for one stage; `language_model` as chosen, or the default's.

    On a GPU every engine waits a millisecond for company. On a CPU a batch costs what its requests
    cost one by one, so nothing joins and nothing waits for company; the heavy stages have no limit
    of time in their queues, with which Triton would not hand them the next request while they work
    (docs/decisions/0003-queue-policy.md). One thread each: the branches share the cores. At full
    size the image encoder may use both, since the other branch takes no time beside it, and so may
    the mask decoder behind it.

    Raises `ContractError` where a language model is to be spread over GPUs on a platform that has
    none.
    """
    full_size_on_cpu = preset.segmenter == MEDSAM.segmenter and not platform.has_gpu
    stage = _CPU_STAGE
    if full_size_on_cpu:
        stage = replace(stage, queue_timeout_microseconds=PATIENT_QUEUE_TIMEOUT_MICROSECONDS)
    if model.name == EXPLAIN_NAME:
        return _explaining(stage, platform, language_model)
    if image_features is ImageFeatures.REUSE:
        chosen = language_model or LanguageModel(default_weights(on_gpu=platform.has_gpu))
        stage = replace(stage, kept_bytes=kept_bytes_of(preset, model.name, chosen.weights))
    if model.name == SESSIONS_NAME:
        return replace(stage, sessions=SESSION_LIMITS)
    if model.name == FEATURES_NAME:
        # One instance knows them all; on a GPU they stay there.
        return replace(stage, on_gpu=platform.has_gpu)
    heavy = model.kind is ModelKind.GRAPH or model.name == "llava_med"
    if not heavy:
        # On a GPU machine the cores are many and decoding must keep up with the engines.
        copies = 4 if platform.has_gpu and model.name in ("preprocess", "postprocess") else 1
        return replace(stage, instances=copies)
    stage = replace(stage, warm_up=True)
    if model.name == "llava_med":
        stage = _with_language_model(stage, platform, language_model)
    if platform.has_gpu:
        return replace(stage, joins_requests=True, queue_delay_microseconds=1_000, on_gpu=True)
    both_cores = full_size_on_cpu and model.name in ("image_encoder", "mask_decoder")
    # An engine keeps the language model's weights a second time: not 28 GiB of them.
    large = model.name == "llava_med" and preset.vision_language == LLAVA_MED_7B.vision_language
    other_weights = stage.language_model and stage.language_model.weights is not (
        LanguageModelWeights.FP32
    )
    return replace(
        stage,
        queue_timeout_microseconds=None,
        threads=2 if both_cores else 1,
        engines=() if large or other_weights else engines_of(model),
    )


def _explaining(
    stage: StageDeployment, platform: Platform, language_model: LanguageModel | None
) -> StageDeployment:
    """The row of the model beside the flow: one instance, one thread, one request at a time.

    On a CPU it reads its weights when it is first asked. On a GPU it takes its room at once: a
    first question must not find it taken, and gigabytes are not read while somebody waits.
    """
    stage = _with_language_model(stage, platform, language_model)
    loading = Loading.AT_START if platform.has_gpu else Loading.ON_FIRST_REQUEST
    return replace(stage, on_gpu=platform.has_gpu, loading=loading)


def _with_language_model(
    stage: StageDeployment, platform: Platform, language_model: LanguageModel | None
) -> StageDeployment:
    chosen = language_model or LanguageModel(default_weights(on_gpu=platform.has_gpu))
    stage = replace(stage, language_model=chosen)
    if stage.spreads and not platform.has_gpu:
        raise ContractError(
            f"wanted a platform with GPUs to spread the language model over, got "
            f"{platform.value}: choose another platform, or place it on one"
        )
    return stage
