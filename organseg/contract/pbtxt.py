"""Renders `config.pbtxt` for every stage and ensemble, through Triton's own protobuf.

The text is made by protobuf from a `ModelConfig` message, so it can hold no field that this
server generation does not know (an unknown field stops a server), and it parses back to the
message it came from.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as pb

from organseg.contract.cpu_engines import ENGINES_PARAMETER, engines_text
from organseg.contract.deployment import Platform, StageDeployment, deployment_of
from organseg.contract.ensembles import ENSEMBLE_ALIASES, Ensemble, ensembles_of
from organseg.contract.explanation import Explanations, served_models
from organseg.contract.facts import INTENDED_USE, LICENCE, SAMPLE_QUESTION, Fact
from organseg.contract.keeping import KEPT_BYTES_PARAMETER, ImageFeatures
from organseg.contract.language_model import LanguageModel
from organseg.contract.models import EXPLAIN_NAME, PROMPTS, Model, ModelKind
from organseg.contract.presets import Preset
from organseg.contract.tensors import DataType, Tensor
from organseg.contract.verdicts import PROMPT_COUNTS
from organseg.contract.version import CONTRACT_PARAMETER, CONTRACT_VERSION

HEADER = "# Rendered by `make contract`; edit organseg/contract instead.\n"
WARM_UP_QUESTION_FILE = "question"
"""The file under `warmup/` that holds one BYTES element, length in front."""


def render_configs(
    preset: Preset,
    platform: Platform,
    language_model: LanguageModel | None = None,
    facts: Mapping[Fact, str] | None = None,
    explanations: Explanations = Explanations.INCLUDE,
    image_features: ImageFeatures = ImageFeatures.REUSE,
) -> dict[str, str]:
    """The text of `config.pbtxt` per model name, ensembles included.

    `facts` are those of the release; what is true of every release need not be among them.
    """
    messages = {
        model.name: model_config(model, preset, platform, language_model, image_features)
        for model in served_models(preset, image_features)
        if explanations is Explanations.INCLUDE or model.name != EXPLAIN_NAME
    }
    for ensemble in ensembles_of(preset, image_features):
        messages[ensemble.name] = ensemble_config(ensemble, preset, facts)
    return {name: config_text(message) for name, message in messages.items()}


def config_text(message: Any) -> str:
    """The message as text, with the header; the batch size is there even where it is zero."""
    text: str = text_format.MessageToString(message)
    if "max_batch_size" not in text:
        text += "max_batch_size: 0\n"
    return HEADER + text


def parse_config(text: str) -> Any:
    """The `ModelConfig` message of a config's text; raises `text_format.ParseError`."""
    return text_format.Parse(text, pb.ModelConfig())


def with_engine(text: str, compute_capability: str, engine_file: str) -> str:
    """A TensorRT stage's config that loads one engine, on GPUs of its compute capability alone.

    There is no default file, so Triton refuses to load the model on any other GPU.
    """
    message = parse_config(text)
    message.ClearField("default_model_filename")
    message.cc_model_filenames[compute_capability] = engine_file
    return config_text(message)


def on_gpu(text: str) -> str:
    """A stage's config with its instances placed on the GPU, whatever the deployment table says."""
    message = parse_config(text)
    for group in message.instance_group:
        group.kind = pb.ModelInstanceGroup.KIND_GPU
    return config_text(message)


def model_config(
    model: Model,
    preset: Preset,
    platform: Platform,
    language_model: LanguageModel | None = None,
    image_features: ImageFeatures = ImageFeatures.REUSE,
) -> Any:
    """The `ModelConfig` of one stage."""
    deployment = deployment_of(preset, platform, model, language_model, image_features)
    # A stream is one request's own.
    most = 1 if model.streams else preset.max_batch
    message = pb.ModelConfig(name=model.name, max_batch_size=most)
    if model.streams:
        message.model_transaction_policy.decoupled = True
    message.backend = _backend(model, platform)
    if model.kind is ModelKind.GRAPH and message.backend != "python":
        message.default_model_filename = platform.graph_file
    message.input.extend(_input(tensor) for tensor in model.inputs)
    message.output.extend(_output(tensor) for tensor in model.outputs)
    message.instance_group.append(
        pb.ModelInstanceGroup(
            count=deployment.instances,
            kind=_instance_kind(deployment),
            gpus=_gpus(deployment),
        )
    )
    message.dynamic_batching.CopyFrom(_batching(deployment))
    if deployment.warm_up:
        message.model_warmup.extend(_warm_ups(model))
    _set_parameter(message, CONTRACT_PARAMETER, CONTRACT_VERSION)
    _set_parameter(message, Fact.PRESET.parameter, preset.name)
    if message.backend == "python":
        _set_parameter(message, "threads", str(deployment.threads))
        if deployment.engines:
            _set_parameter(message, ENGINES_PARAMETER, engines_text(deployment.engines))
    elif message.backend == "onnxruntime":
        _set_parameter(message, "intra_op_thread_count", str(deployment.threads))
    if deployment.language_model:
        for key, value in deployment.language_model.parameters.items():
            _set_parameter(message, key, value)
    if deployment.kept_bytes:
        _set_parameter(message, KEPT_BYTES_PARAMETER, str(deployment.kept_bytes))
    if deployment.sessions:
        for key, value in deployment.sessions.parameters.items():
            _set_parameter(message, key, value)
    for key, value in deployment.loading.parameters.items():
        _set_parameter(message, key, value)
    return message


def ensemble_config(
    ensemble: Ensemble, preset: Preset, facts: Mapping[Fact, str] | None = None
) -> Any:
    """The `ModelConfig` of an ensemble: every tensor flows under its own name.

    Its parameters say what the server is, for clients to read.
    """
    message = pb.ModelConfig(
        name=ensemble.name, platform="ensemble", max_batch_size=preset.max_batch
    )
    message.input.extend(_input(tensor) for tensor in ensemble.inputs)
    message.output.extend(_output(tensor) for tensor in ensemble.outputs)
    for each in ensemble.steps():
        step = message.ensemble_scheduling.step.add(model_name=each.model.name, model_version=-1)
        for tensor in each.inputs:
            step.input_map[tensor.name] = ENSEMBLE_ALIASES.get(tensor.name, tensor.name)
        for tensor in each.outputs:
            step.output_map[tensor.name] = ENSEMBLE_ALIASES.get(tensor.name, tensor.name)
    _set_parameter(message, CONTRACT_PARAMETER, CONTRACT_VERSION)
    known = {
        Fact.PRESET: preset.name,
        Fact.INTENDED_USE: INTENDED_USE,
        Fact.LICENCE: LICENCE,
        **(facts or {}),
    }
    for fact, value in known.items():
        _set_parameter(message, fact.parameter, value)
    return message


def _instance_kind(deployment: StageDeployment) -> int:
    """Where Triton places the instances.

    With KIND_GPU there would be one instance for every GPU, each told to keep to its own; with
    KIND_MODEL there is one, which Triton leaves to choose its devices.
    """
    if deployment.spreads:
        return int(pb.ModelInstanceGroup.KIND_MODEL)
    kinds = pb.ModelInstanceGroup
    return int(kinds.KIND_GPU if deployment.on_gpu else kinds.KIND_CPU)


def _gpus(deployment: StageDeployment) -> list[int]:
    """The GPUs that get an instance, where not all do.

    What a stage keeps is one process's own. Another instance on another GPU would not know an image
    that this one knows, and a session would be found or lost by chance.
    """
    keeps_there = deployment.kept_bytes and deployment.on_gpu and not deployment.spreads
    return [0] if keeps_there else []


def _backend(model: Model, platform: Platform) -> str:
    return "python" if model.kind is ModelKind.PYTHON else platform.value


def _data_type(tensor: Tensor) -> int:
    return int(pb.DataType.Value(tensor.dtype.config_name))


def _input(tensor: Tensor) -> Any:
    return pb.ModelInput(
        name=tensor.name,
        data_type=_data_type(tensor),
        dims=tensor.config_dims,
        optional=tensor.optional,
    )


def _output(tensor: Tensor) -> Any:
    return pb.ModelOutput(name=tensor.name, data_type=_data_type(tensor), dims=tensor.config_dims)


def _batching(deployment: StageDeployment) -> Any:
    """Queues reject what has waited too long, where the table says so.

    There is no queue size limit: on a parallel branch of an ensemble, servers before 26.02
    hang the requests that overflow one (docs/decisions/0003-queue-policy.md).
    """
    batching = pb.ModelDynamicBatching(
        # One at a time, where joining gains nothing.
        preferred_batch_size=[] if deployment.joins_requests else [1],
        max_queue_delay_microseconds=deployment.queue_delay_microseconds,
    )
    if deployment.queue_timeout_microseconds is not None:
        batching.default_queue_policy.CopyFrom(
            pb.ModelQueuePolicy(
                timeout_action=pb.ModelQueuePolicy.REJECT,
                default_timeout_microseconds=deployment.queue_timeout_microseconds,
                allow_timeout_override=True,
            )
        )
    return batching


def _warm_ups(model: Model) -> list[Any]:
    """A request of batch 1 for each number of prompts that the stage will see, zeros but for the
    question: engines choose kernels and memory when they first meet a shape.
    """
    counts = (
        PROMPT_COUNTS
        if any(axis.name == PROMPTS for tensor in model.inputs for axis in tensor.axes)
        else PROMPT_COUNTS[:1]
    )
    return [_warm_up(model, count) for count in counts]


def _warm_up(model: Model, prompts: int) -> Any:
    sample = pb.ModelWarmup(name=f"one request, {prompts} prompts", batch_size=1)
    for tensor in model.inputs:
        dims = [prompts if axis.name == PROMPTS else axis.opt for axis in tensor.axes]
        entry = pb.ModelWarmup.Input(data_type=_data_type(tensor), dims=dims)
        if tensor.dtype is DataType.BYTES:
            entry.input_data_file = WARM_UP_QUESTION_FILE
        else:
            entry.zero_data = True
        sample.inputs[tensor.name].CopyFrom(entry)
    return sample


def warm_up_files(preset: Preset, platform: Platform, model: Model) -> dict[str, bytes]:
    """The files that a stage's warm-up reads, by path below the model's folder."""
    wants_text = any(tensor.dtype is DataType.BYTES for tensor in model.inputs)
    if not (deployment_of(preset, platform, model).warm_up and wants_text):
        return {}
    text = SAMPLE_QUESTION.encode()
    return {f"warmup/{WARM_UP_QUESTION_FILE}": len(text).to_bytes(4, "little") + text}


def _set_parameter(message: Any, key: str, value: str) -> None:
    message.parameters[key].string_value = value
