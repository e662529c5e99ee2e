"""The flow as the contract declares it: who writes and who reads each tensor."""

from __future__ import annotations

from dataclasses import replace

import pytest

from organseg.contract import (
    PRESETS,
    Ensemble,
    ImageFeatures,
    Model,
    Preset,
    Tensor,
    ensemble_tensors,
    ensembles_of,
    model_of,
    models_of,
    served_models,
)
from organseg.contract.ensembles import ENSEMBLE_ALIASES
from organseg.contract.models import MAX_SIDE
from organseg.imaging.limits import MAX_SIDE_PIXELS
from organseg.organs import ANSWERS, ORGANS

every_preset = pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)


every_ensemble = pytest.mark.parametrize(
    ("preset", "ensemble"),
    [
        pytest.param(preset, ensemble, id=f"{preset.name}-{way.value}-{ensemble.name}")
        for preset in PRESETS.values()
        for way in ImageFeatures
        for ensemble in ensembles_of(preset, way)
    ],
)


def same(one: Tensor, two: Tensor) -> bool:
    """Whether two tensors of one name are one; who may leave it out is the reader's own matter."""
    return replace(one, optional=False) == replace(two, optional=False)


@every_ensemble
def test_every_input_comes_from_exactly_one_earlier_stage_or_from_the_request(
    preset: Preset, ensemble: Ensemble
) -> None:
    written = list(ensemble.inputs)
    for step in ensemble.steps():
        for wanted in step.inputs:
            sources = [tensor for tensor in written if tensor.name == wanted.name]
            assert len(sources) == 1, f"{step.model.name} reads {wanted.name}"
            assert same(sources[0], wanted)
        left_out = set(step.model.inputs) - set(step.inputs)
        assert all(tensor.optional for tensor in left_out)
        written += step.outputs


@every_ensemble
def test_no_name_is_written_twice_in_an_ensemble(preset: Preset, ensemble: Ensemble) -> None:
    names = [tensor.name for step in ensemble.steps() for tensor in step.outputs]
    names += [tensor.name for tensor in ensemble.inputs]
    assert len(set(names)) == len(names)


@every_ensemble
def test_all_that_a_client_receives_is_written(preset: Preset, ensemble: Ensemble) -> None:
    written = {
        ENSEMBLE_ALIASES.get(tensor.name, tensor.name)
        for step in ensemble.steps()
        for tensor in step.outputs
    }
    assert {tensor.name for tensor in ensemble.outputs} <= written


@every_preset
def test_every_output_of_a_stage_is_of_use_in_some_ensemble(preset: Preset) -> None:
    used = {
        (step.model.name, tensor.name)
        for ensemble in ensembles_of(preset)
        for step in ensemble.steps()
        for tensor in step.outputs
    }
    beside = {"image_encoder"}  # `image_features` asks it.
    for model in models_of(preset):
        if model.name not in beside:
            assert {(model.name, tensor.name) for tensor in model.outputs} <= used


@every_preset
def test_tensors_of_one_name_are_one_tensor_wherever_they_are_declared(preset: Preset) -> None:
    found: dict[str, Tensor] = {}
    for model in models_of(preset):
        for tensor in (*model.inputs, *model.outputs):
            assert same(found.setdefault(tensor.name, tensor), tensor), tensor.name


def test_without_reuse_nothing_of_it_is_in_a_release() -> None:
    assert {model.name for model in served_models(PRESETS["tiny"])} - {
        model.name for model in served_models(PRESETS["tiny"], ImageFeatures.DIRECT)
    } == {"image_features", "sessions"}
    (direct,) = ensembles_of(PRESETS["tiny"], ImageFeatures.DIRECT)
    assert (direct.inputs, direct.outputs) == ensemble_tensors(PRESETS["tiny"])
    assert "image_encoder" in {model.name for model in direct.stages}


def test_an_ensemble_that_lacks_a_writer_is_refused() -> None:
    whole = ensembles_of(PRESETS["tiny"])[0]
    with pytest.raises(ValueError, match=r"nobody writes .*image_key.* for image_features"):
        replace(whole, stages=whole.stages[1:]).steps()


@every_preset
def test_upper_case_names_are_the_clients_and_no_others(preset: Preset) -> None:
    client_names = {
        tensor.name
        for ensemble in ensembles_of(preset)
        for side in (ensemble.inputs, ensemble.outputs)
        for tensor in side
    }
    inner = {
        tensor.name
        for model in models_of(preset)
        for tensor in (*model.inputs, *model.outputs)
        if tensor.name not in client_names
    }
    assert all(name.isupper() for name in client_names)
    assert all(name.islower() for name in inner)


@every_preset
def test_an_alias_keeps_type_axes_and_meaning(preset: Preset) -> None:
    inner = {t.name: t for model in models_of(preset) for t in model.outputs}
    received = {t.name: t for t in ensemble_tensors(preset)[1]}
    for name, alias in ENSEMBLE_ALIASES.items():
        assert received[alias].dtype is inner[name].dtype
        assert received[alias].axes == inner[name].axes
        assert received[alias].doc == inner[name].doc


def test_the_client_side_is_the_same_for_every_preset() -> None:
    assert len({repr(ensemble_tensors(preset)) for preset in PRESETS.values()}) == 1


def test_similarity_has_an_entry_per_answer_and_presence_one_per_organ() -> None:
    received = {t.name: t.shape() for t in ensemble_tensors(PRESETS["tiny"])[1]}
    assert received["SIMILARITY"] == (len(ANSWERS),)
    assert received["PRESENCE"] == (len(ORGANS),)
    assert received["MASKS"] == (len(ORGANS), MAX_SIDE, MAX_SIDE)


def test_the_masks_are_bounded_as_the_images_are() -> None:
    assert MAX_SIDE == MAX_SIDE_PIXELS


@every_preset
def test_a_client_may_leave_out_the_window_alone(preset: Preset) -> None:
    for ensemble in ensembles_of(preset):
        assert {t.name for t in ensemble.inputs if t.optional} <= {"WINDOW"}


@every_preset
def test_between_stages_no_picture_travels_as_float32(preset: Preset) -> None:
    for model in models_of(preset):
        for tensor in model.outputs:
            if {"rows", "columns"} <= {axis.name for axis in tensor.axes}:
                assert tensor.dtype.value != "FP32", tensor.name


def test_a_stage_and_its_tensors_are_found_by_name_and_a_wrong_name_is_said() -> None:
    model = model_of(PRESETS["tiny"], "gate")
    assert isinstance(model, Model)
    assert model.tensor("verdicts").name == "verdicts"
    with pytest.raises(KeyError, match="model 'gate' has no tensor 'masks'"):
        model.tensor("masks")
    with pytest.raises(KeyError, match="has no model 'segmenter'"):
        model_of(PRESETS["tiny"], "segmenter")
