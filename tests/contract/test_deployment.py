"""The deployment table."""

from __future__ import annotations

import pytest

from organseg.contract import (
    FEATURES_NAME,
    MEDSAM,
    PRESETS,
    TINY,
    Loading,
    ModelKind,
    Platform,
    deployment_of,
    explanation_model,
    loading_in,
    model_of,
    models_of,
    served_models,
)

every_stage = pytest.mark.parametrize(
    "model", served_models(TINY), ids=[model.name for model in served_models(TINY)]
)


@every_stage
@pytest.mark.parametrize("platform", Platform)
@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)
def test_every_stage_has_a_row_with_instances_threads_and_a_queue_that_ends(
    preset, platform, model
) -> None:
    row = deployment_of(preset, platform, model)
    assert row.instances >= 1
    assert row.threads >= 1
    heavy = model.kind is ModelKind.GRAPH or model.name == "llava_med"
    if heavy and not platform.has_gpu:
        # `image_features` holds images to their limit there.
        assert row.queue_timeout_microseconds is None
        assert row.queue_delay_microseconds == 0
    else:
        assert 0 <= row.queue_delay_microseconds < row.queue_timeout_microseconds


@every_stage
def test_without_a_gpu_nothing_is_placed_on_one(model) -> None:
    assert not Platform.PYTHON.has_gpu
    assert not deployment_of(TINY, Platform.PYTHON, model).on_gpu


@every_stage
def test_heavy_stages_are_warmed_up_and_join_requests_where_that_gains(model) -> None:
    heavy = model.kind is ModelKind.GRAPH or model.name == "llava_med"
    for platform in Platform:
        row = deployment_of(TINY, platform, model)
        # On a CPU a batch costs what its requests cost one by one.
        joins = heavy and platform.has_gpu
        assert row.warm_up == heavy
        assert row.joins_requests == joins
        assert (row.queue_delay_microseconds > 0) == (joins and platform.has_gpu)


def test_the_full_size_encoder_on_a_cpu_gets_both_cores_and_patience() -> None:
    assert deployment_of(MEDSAM, Platform.PYTHON, model_of(MEDSAM, "image_encoder")).threads == 2
    waiting = model_of(MEDSAM, FEATURES_NAME)
    slow = deployment_of(MEDSAM, Platform.PYTHON, waiting)
    fast = deployment_of(MEDSAM, Platform.TENSORRT, waiting)
    assert slow.queue_timeout_microseconds > fast.queue_timeout_microseconds


def test_the_two_branches_together_take_the_two_cores_of_the_embedded_machine() -> None:
    rows = {model.name: deployment_of(TINY, Platform.PYTHON, model) for model in models_of(TINY)}
    assert rows["image_encoder"].threads + rows["llava_med"].threads == 2
    assert rows["mask_decoder"].threads == 1
    at_full_size = deployment_of(MEDSAM, Platform.PYTHON, model_of(MEDSAM, "mask_decoder"))
    assert at_full_size.threads == 2


def test_the_model_that_explains_takes_one_request_one_thread_and_no_memory_before_it_is_asked():
    model = explanation_model(TINY)
    embedded = deployment_of(TINY, Platform.PYTHON, model)
    assert (embedded.instances, embedded.threads, embedded.joins_requests) == (1, 1, False)
    assert embedded.loading is Loading.ON_FIRST_REQUEST
    # On a GPU its room is taken when the server starts, as that of every other model.
    assert deployment_of(TINY, Platform.TENSORRT, model).loading is Loading.AT_START
    for platform in Platform:
        own, flow = (
            deployment_of(TINY, platform, each) for each in (model, model_of(TINY, "llava_med"))
        )
        assert (own.language_model, own.on_gpu) == (flow.language_model, flow.on_gpu)


def test_loading_is_read_back_from_the_config_and_the_usual_way_is_not_written():
    for loading in Loading:
        assert loading_in(loading.parameters) is loading
    assert Loading.AT_START.parameters == {}


def test_each_native_platform_loads_its_own_file() -> None:
    assert Platform.TENSORRT.graph_file == "model.plan"
    assert Platform.ONNXRUNTIME.graph_file == Platform.PYTHON.graph_file == "model.onnx"
