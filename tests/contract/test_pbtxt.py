"""Rendered `config.pbtxt`: held against Triton's own protobuf."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as pb

from organseg.contract import (
    ASK_NAME,
    CONTRACT_PARAMETER,
    CONTRACT_VERSION,
    ENCODE_NAME,
    ENSEMBLE_NAME,
    EXPLAIN_NAME,
    PRESETS,
    PROMPT_COUNTS,
    Explanations,
    ImageFeatures,
    ModelKind,
    Platform,
    Preset,
    ensembles_of,
    explanation_model,
    model_of,
    models_of,
)
from organseg.contract.pbtxt import (
    HEADER,
    config_text,
    ensemble_config,
    model_config,
    parse_config,
    render_configs,
    warm_up_files,
)

every_rendering = pytest.mark.parametrize(
    ("preset", "platform"),
    [
        pytest.param(preset, platform, id=f"{preset.name}-{platform.value}")
        for preset in PRESETS.values()
        for platform in Platform
    ],
)


def stage_configs(preset: Preset, platform: Platform) -> dict[str, Any]:
    return {model.name: model_config(model, preset, platform) for model in models_of(preset)}


@every_rendering
def test_the_text_parses_back_to_the_message_it_came_from(
    preset: Preset, platform: Platform
) -> None:
    explaining = model_config(explanation_model(preset), preset, platform)
    messages = stage_configs(preset, platform)
    messages |= {each.name: ensemble_config(each, preset) for each in ensembles_of(preset)}
    messages[EXPLAIN_NAME] = explaining
    texts = render_configs(preset, platform)
    assert texts.keys() == messages.keys()
    for name, text in texts.items():
        assert text.startswith(HEADER)
        assert parse_config(text) == messages[name]


def test_a_batch_size_of_zero_is_written_out() -> None:
    text = config_text(pb.ModelConfig(name="toy", max_batch_size=0))
    assert "max_batch_size: 0" in text
    assert parse_config(text).max_batch_size == 0


def test_a_field_that_this_server_generation_does_not_know_is_refused() -> None:
    with pytest.raises(text_format.ParseError, match="max_inflight"):
        parse_config('name: "toy"\nmax_inflight_everything: 3\n')


UNLIMITED_ON_A_CPU = {"image_encoder", "llava_med", "extractors", "mask_decoder"}


@every_rendering
def test_every_queue_but_the_heavy_ones_on_a_cpu_rejects_after_a_timeout_that_is_not_zero(
    preset: Preset, platform: Platform
) -> None:
    for name, message in stage_configs(preset, platform).items():
        assert message.HasField("dynamic_batching"), name
        batching = message.dynamic_batching
        if platform is Platform.PYTHON and name in UNLIMITED_ON_A_CPU:
            # Triton hands an instance its next request while it works only without a limit.
            assert not batching.HasField("default_queue_policy"), name
            continue
        policy = message.dynamic_batching.default_queue_policy
        assert policy.default_timeout_microseconds > 0, name
        assert policy.timeout_action == pb.ModelQueuePolicy.REJECT, name
        assert policy.allow_timeout_override, name


@every_rendering
def test_no_queue_has_a_size_limit(preset: Preset, platform: Platform) -> None:
    for name, text in render_configs(preset, platform).items():
        assert "max_queue_size" not in text, name
        assert "priority_queue_policy" not in text, name


@every_rendering
def test_the_ensemble_batches_no_more_than_its_stages(preset: Preset, platform: Platform) -> None:
    whole = ensemble_config(ensembles_of(preset)[0], preset).max_batch_size
    assert whole >= 1
    for name, message in stage_configs(preset, platform).items():
        assert message.max_batch_size >= whole, name


@every_rendering
def test_a_native_graph_has_minus_one_only_where_the_contract_says_dynamic(
    preset: Preset, platform: Platform
) -> None:
    for model in models_of(preset):
        message = model_config(model, preset, platform)
        pairs = [*zip(model.inputs, message.input, strict=True)]
        pairs += zip(model.outputs, message.output, strict=True)
        for tensor, rendered in pairs:
            wanted = [axis.max if axis.is_static else -1 for axis in tensor.axes]
            assert list(rendered.dims) == wanted, f"{model.name}: {tensor.name}"
            if model.kind is ModelKind.GRAPH:
                dynamic = {axis.name for axis in tensor.axes if not axis.is_static}
                assert dynamic <= {"prompts"}, f"{model.name}: {tensor.name}"


@every_rendering
def test_graphs_run_on_the_platform_and_all_else_in_python(
    preset: Preset, platform: Platform
) -> None:
    for model in models_of(preset):
        message = model_config(model, preset, platform)
        native = model.kind is ModelKind.GRAPH and platform is not Platform.PYTHON
        assert message.backend == (platform.value if native else "python")
        assert message.default_model_filename == (platform.graph_file if native else "")


@every_rendering
def test_every_config_carries_contract_version_and_preset(
    preset: Preset, platform: Platform
) -> None:
    for text in render_configs(preset, platform).values():
        parameters = parse_config(text).parameters
        assert parameters[CONTRACT_PARAMETER].string_value == CONTRACT_VERSION
        assert parameters["preset"].string_value == preset.name


@every_rendering
def test_the_embedded_server_gets_no_gpu_and_the_native_platforms_place_heavy_stages_there(
    preset: Preset, platform: Platform
) -> None:
    on_gpu = {
        name
        for name, message in stage_configs(preset, platform).items()
        for group in message.instance_group
        if group.kind == pb.ModelInstanceGroup.KIND_GPU
    }
    heavy = {"image_encoder", "image_features", "llava_med", "extractors", "mask_decoder"}
    assert on_gpu == (set() if platform is Platform.PYTHON else heavy)


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)
def test_the_ensemble_wires_every_tensor_from_one_writer_to_its_readers(preset: Preset) -> None:
    for ensemble in ensembles_of(preset):
        message = ensemble_config(ensemble, preset)
        known = {tensor.name for tensor in ensemble.inputs}
        for step in message.ensemble_scheduling.step:
            model = model_of(preset, step.model_name)
            demanded = {tensor.name for tensor in model.inputs if not tensor.optional}
            assert demanded <= set(step.input_map) <= {tensor.name for tensor in model.inputs}
            assert set(step.output_map) <= {tensor.name for tensor in model.outputs}
            assert set(step.input_map.values()) <= known
            assert known.isdisjoint(step.output_map.values())
            known |= set(step.output_map.values())
        assert {tensor.name for tensor in ensemble.outputs} <= known


@every_rendering
def test_what_is_kept_is_bounded_and_in_one_place(preset: Preset, platform: Platform) -> None:
    for name, message in stage_configs(preset, platform).items():
        said = message.parameters["kept_bytes"].string_value
        assert bool(said) == (name in ("image_features", "llava_med")), name
        if said:
            assert int(said) >= 256 << 20
            (group,) = message.instance_group
            assert group.count == 1
            assert list(group.gpus) == ([] if platform is Platform.PYTHON else [0])


@every_rendering
def test_a_release_that_computes_anew_keeps_nothing(preset: Preset, platform: Platform) -> None:
    texts = render_configs(preset, platform, image_features=ImageFeatures.DIRECT)
    assert not {"image_features", "sessions", ENCODE_NAME, ASK_NAME} & set(texts)
    assert not any("kept_bytes" in text for text in texts.values())
    assert "gpus" not in texts["llava_med"]


@every_rendering
def test_the_ensemble_has_no_warm_up_and_no_queue_of_its_own(
    preset: Preset, platform: Platform
) -> None:
    message = parse_config(render_configs(preset, platform)[ENSEMBLE_NAME])
    assert not message.model_warmup
    assert not message.HasField("dynamic_batching")
    assert not message.instance_group


@every_rendering
def test_a_warm_up_feeds_every_input_a_shape_the_contract_allows(
    preset: Preset, platform: Platform
) -> None:
    warmed = 0
    for model in models_of(preset):
        files = warm_up_files(preset, platform, model)
        for sample in model_config(model, preset, platform).model_warmup:
            warmed += 1
            assert sample.batch_size == 1
            assert set(sample.inputs) == {tensor.name for tensor in model.inputs}
            for tensor in model.inputs:
                entry = sample.inputs[tensor.name]
                assert pb.DataType.Name(entry.data_type) == tensor.dtype.config_name
                for axis, size in zip(tensor.axes, entry.dims, strict=True):
                    assert axis.min <= size <= axis.max
                if entry.input_data_file:
                    content = files[f"warmup/{entry.input_data_file}"]
                    assert int.from_bytes(content[:4], "little") == len(content) - 4
    assert warmed == 3 + len(PROMPT_COUNTS)
    decoder = model_config(model_of(preset, "mask_decoder"), preset, platform)
    counts = [sample.inputs["prompt_boxes"].dims[0] for sample in decoder.model_warmup]
    assert counts == list(PROMPT_COUNTS)


@every_rendering
def test_stages_that_loop_take_requests_one_at_a_time(preset: Preset, platform: Platform) -> None:
    for name, message in stage_configs(preset, platform).items():
        loops = name in ("preprocess", "image_features", "gate", "postprocess", "sessions")
        if not platform.has_gpu:
            loops |= name in UNLIMITED_ON_A_CPU
        assert list(message.dynamic_batching.preferred_batch_size) == ([1] if loops else [])


@every_rendering
def test_the_model_that_explains_is_the_only_one_that_streams(
    preset: Preset, platform: Platform
) -> None:
    for name, text in render_configs(preset, platform).items():
        config = parse_config(text)
        assert config.model_transaction_policy.decoupled is (name == EXPLAIN_NAME)
        if name == EXPLAIN_NAME:
            assert config.max_batch_size == 1
            assert [group.count for group in config.instance_group] == [1]
            optional = [tensor.name for tensor in config.input if tensor.optional]
            assert optional == ["WINDOW", "MAX_TOKENS"]


@every_rendering
def test_a_release_may_leave_explanations_out(preset: Preset, platform: Platform) -> None:
    whole = render_configs(preset, platform)
    without = render_configs(preset, platform, explanations=Explanations.LEAVE_OUT)
    assert {name: text for name, text in whole.items() if name != EXPLAIN_NAME} == without
