"""The contract version: changes with the interface, and with nothing else."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from organseg.contract import (
    CONTRACT_VERSION,
    PRESETS,
    DataType,
    Model,
    Preset,
    Tensor,
    explanation_model,
    version,
)
from organseg.contract.ensembles import Ensemble, ensembles_of
from organseg.contract.models import models_of
from organseg.contract.tensors import static


def version_with(
    monkeypatch: pytest.MonkeyPatch, change: Callable[[Tensor], Tensor], name: str
) -> str:
    """The version of a contract in which one tensor is another, wherever it occurs."""

    def changed(tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return tuple(change(tensor) if tensor.name == name else tensor for tensor in tensors)

    def changed_models(preset: Preset) -> tuple[Model, ...]:
        return tuple(
            replace(model, inputs=changed(model.inputs), outputs=changed(model.outputs))
            for model in models_of(preset)
        )

    def changed_ensembles(preset: Preset) -> tuple[Ensemble, ...]:
        return tuple(
            replace(each, inputs=changed(each.inputs), outputs=changed(each.outputs))
            for each in ensembles_of(preset)
        )

    def changed_explanations(preset: Preset) -> Model:
        model = explanation_model(preset)
        return replace(model, inputs=changed(model.inputs), outputs=changed(model.outputs))

    monkeypatch.setattr(version, "models_of", changed_models)
    monkeypatch.setattr(version, "explanation_model", changed_explanations)
    monkeypatch.setattr(version, "ensembles_of", changed_ensembles)
    return version._hash(version.contract_document())


def test_the_version_is_twelve_hexadecimal_digits_of_the_document() -> None:
    assert re.fullmatch(r"[0-9a-f]{12}", CONTRACT_VERSION)
    assert version._hash(version.contract_document()) == CONTRACT_VERSION


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)
def test_the_version_is_the_same_for_every_preset(
    preset: Preset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(version, "TINY", preset)
    assert version._hash(version.contract_document()) == CONTRACT_VERSION


@pytest.mark.parametrize(
    "name", ["MASKS", "QUERY", "patch_states", "organ_presence", "TEXT", "HANDLE"]
)
@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda t: replace(t, name=t.name + "2"), id="another name"),
        pytest.param(lambda t: replace(t, dtype=DataType.UINT8), id="another type"),
        pytest.param(lambda t: replace(t, axes=(*t.axes, static("more", 2))), id="another axis"),
        pytest.param(
            lambda t: replace(t, axes=(replace(t.axes[0], name="other"), *t.axes[1:])),
            id="an axis renamed",
        ),
        pytest.param(lambda t: replace(t, optional=True), id="made optional"),
    ],
)
def test_a_changed_tensor_changes_the_version(
    name: str, change: Callable[[Tensor], Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert version_with(monkeypatch, change, name) != CONTRACT_VERSION


def test_a_reworded_explanation_keeps_the_version(monkeypatch: pytest.MonkeyPatch) -> None:
    def reworded(tensor: Tensor) -> Tensor:
        return replace(tensor, doc="the same in other words")

    assert version_with(monkeypatch, reworded, "MASKS") == CONTRACT_VERSION


class _OtherVerdict:
    value = "maybe"
    code = 4


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Verdict", [*version.Verdict, _OtherVerdict]),
        ("Verdict", list(version.Verdict)[:2]),
        ("ANSWERS", version.ANSWERS[::-1]),
        ("PROMPT_COUNTS", (1, 13)),
    ],
    ids=["another verdict", "a verdict less", "another organ order", "other prompt counts"],
)
def test_changed_verdicts_organs_or_counts_change_the_version(
    name: str, value: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(version, name, value)
    assert version._hash(version.contract_document()) != CONTRACT_VERSION
