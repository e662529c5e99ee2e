"""Puts a deployment into rendered configs, and reads from configs how stages are deployed.

The knobs are fields and parameters of a stage's config alone, so a release is deployed anew without
its graphs: the text of a config goes in and comes out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tritonclient.grpc import model_config_pb2 as pb

from organseg.contract.cores import CORES_PARAMETER, cores_in, cores_text
from organseg.contract.deployment_file import Deployment, StageChoice
from organseg.contract.facts import Fact
from organseg.contract.keeping import HANDLES_PARAMETER, KEPT_BYTES_PARAMETER
from organseg.contract.pbtxt import config_text, parse_config
from organseg.errors import ContractError

_THREADS = {"python": "threads", "onnxruntime": "intra_op_thread_count"}
"""The parameter that says how many threads an engine has, by backend."""


def deployed(configs: Mapping[str, str], deployment: Deployment) -> dict[str, str]:
    """All configs of a release, those that the deployment names as it says.

    Raises `ContractError` where it names a stage that the release has not, was made for another
    preset or platform, or chooses what a stage cannot be given.
    """
    stages = stage_configs(configs)
    unknown = sorted(set(deployment.stages) - set(stages))
    if unknown:
        raise ContractError(
            f"wanted stages among {', '.join(stages)}, got a deployment file that names "
            f"{unknown[0]!r:.40}: correct its name, or leave it out"
        )
    presets = {_parameter(message, Fact.PRESET.parameter) for message in stages.values()}
    if deployment.preset and presets - {deployment.preset}:
        raise ContractError(
            f"wanted a deployment file for the preset {', '.join(sorted(presets))}, got one for "
            f"{deployment.preset!r:.40}: tune this release, or take the preset out of the file"
        )
    texts = dict(configs)
    for name, choice in deployment.stages.items():
        texts[name] = _with_choice(stages[name], choice)
    return texts


def require_platform(deployment: Deployment, platform: str) -> None:
    """Raises `ContractError` where a deployment was made for another platform."""
    if deployment.platform and deployment.platform != platform:
        raise ContractError(
            f"wanted a deployment file for the platform {platform}, got one for "
            f"{deployment.platform!r:.40}: tune this release, or take the platform out of the file"
        )


def choices_in(configs: Mapping[str, str]) -> dict[str, StageChoice]:
    """How each stage of a release is deployed; threads are None where they are not its own."""
    return {name: _choice_in(message) for name, message in stage_configs(configs).items()}


def stage_configs(configs: Mapping[str, str]) -> dict[str, Any]:
    """The `ModelConfig` messages of a release's stages, its ensembles left out."""
    messages = {name: parse_config(text) for name, text in configs.items()}
    return {name: message for name, message in messages.items() if message.platform != "ensemble"}


def is_one_process(message: Any) -> bool:
    """Whether a stage must stay one: what it keeps between requests lies in its process, and a
    language model that is spread over the GPUs takes all of them.
    """
    keeps = _parameter(message, KEPT_BYTES_PARAMETER) not in ("", "0")
    spreads = any(
        group.kind == pb.ModelInstanceGroup.KIND_MODEL for group in message.instance_group
    )
    return keeps or spreads or HANDLES_PARAMETER in message.parameters


def _choice_in(message: Any) -> StageChoice:
    batching = message.dynamic_batching
    threads = _parameter(message, _THREADS.get(message.backend, ""))
    return StageChoice(
        instances=sum(group.count for group in message.instance_group),
        threads=int(threads) if threads else None,
        joins_requests=list(batching.preferred_batch_size) != [1] and message.max_batch_size > 1,
        queue_delay_microseconds=batching.max_queue_delay_microseconds,
        cores=cores_in({CORES_PARAMETER: _parameter(message, CORES_PARAMETER)}),
    )


def _with_choice(message: Any, choice: StageChoice) -> str:
    name = message.name
    if choice.instances is not None:
        if choice.instances > 1 and is_one_process(message):
            raise ContractError(
                f"wanted one instance of {name}, which keeps what it computed in its own process, "
                f"got {choice.instances}: leave it out, or export with --image-features direct"
            )
        for group in message.instance_group:
            group.count = choice.instances
    if choice.threads is not None:
        parameter = _THREADS.get(message.backend)
        if parameter is None:
            raise ContractError(
                f"wanted no threads for {name}, which Triton's {message.backend} runs: leave it out"
            )
        message.parameters[parameter].string_value = str(choice.threads)
    batching = message.dynamic_batching
    if choice.joins_requests is not None:
        if choice.joins_requests and message.max_batch_size < 2:
            raise ContractError(
                f"wanted {name}, which streams, not to join requests, got joins_requests true: "
                "leave it out"
            )
        del batching.preferred_batch_size[:]
        if not choice.joins_requests:
            batching.preferred_batch_size.append(1)
    if choice.queue_delay_microseconds is not None:
        batching.max_queue_delay_microseconds = choice.queue_delay_microseconds
    if choice.cores is not None:
        if message.backend != "python":
            raise ContractError(
                f"wanted no cores for {name}, which Triton's {message.backend} runs in the "
                "server's own process: leave it out"
            )
        if CORES_PARAMETER in message.parameters:
            del message.parameters[CORES_PARAMETER]
        if choice.cores:
            message.parameters[CORES_PARAMETER].string_value = cores_text(choice.cores)
    _require_room(message)
    return config_text(message)


def _require_room(message: Any) -> None:
    """Raises `ContractError` where a stage has more threads than cores to run them."""
    found = _choice_in(message)
    if found.cores and found.threads and found.threads > len(found.cores):
        raise ContractError(
            f"wanted no more threads than cores for {message.name}, got {found.threads} threads "
            f"on {cores_text(found.cores)}: give it more cores or fewer threads"
        )


def _parameter(message: Any, name: str) -> str:
    # A look-up in protobuf's map would add what is not there.
    return str(message.parameters[name].string_value) if name in message.parameters else ""
