"""The flow as the contract declares it: who writes and who reads each tensor."""

from __future__ import annotations

import pytest

from organseg.contract import PRESETS, Model, Preset, ensemble_tensors, model_of, models_of
from organseg.contract.models import ENSEMBLE_ALIASES, MAX_SIDE
from organseg.imaging.limits import MAX_SIDE_PIXELS
from organseg.organs import ANSWERS, ORGANS

every_preset = pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)


@every_preset
def test_every_input_comes_from_exactly_one_earlier_stage_or_from_the_request(
    preset: Preset,
) -> None:
    written = list(ensemble_tensors(preset)[0])
    for model in models_of(preset):
        for wanted in model.inputs:
            sources = [tensor for tensor in written if tensor.name == wanted.name]
            assert sources == [wanted], f"{model.name} reads {wanted.name}"
        written += model.outputs


@every_preset
def test_no_name_is_written_twice(preset: Preset) -> None:
    names = [tensor.name for model in models_of(preset) for tensor in model.outputs]
    names += [tensor.name for tensor in ensemble_tensors(preset)[0]]
    assert len(set(names)) == len(names)


@every_preset
def test_every_output_is_read_by_a_later_stage_or_received_by_the_client(preset: Preset) -> None:
    models = models_of(preset)
    received = {tensor.name for tensor in ensemble_tensors(preset)[1]}
    for position, model in enumerate(models):
        read_later = {tensor.name for later in models[position + 1 :] for tensor in later.inputs}
        for tensor in model.outputs:
            seen_as = ENSEMBLE_ALIASES.get(tensor.name, tensor.name)
            assert tensor.name in read_later or seen_as in received, tensor.name


@every_preset
def test_upper_case_names_are_the_clients_and_no_others(preset: Preset) -> None:
    client_names = {tensor.name for side in ensemble_tensors(preset) for tensor in side}
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
def test_only_the_window_may_be_left_out(preset: Preset) -> None:
    optional = {t.name for model in models_of(preset) for t in model.inputs if t.optional}
    assert optional == {"WINDOW"}


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
