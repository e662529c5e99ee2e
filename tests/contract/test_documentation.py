"""The page of the contract: nothing of it is left undocumented."""

from __future__ import annotations

import pytest

from organseg.contract import (
    CONTRACT_VERSION,
    EXPLAIN_NAME,
    PRESETS,
    TINY,
    Platform,
    Tensor,
    Verdict,
    ensemble_tensors,
    served_models,
)
from organseg.contract.documentation import render_documentation
from organseg.organs import ANSWERS

PAGE = render_documentation()


def section(name: str) -> str:
    """The page between one second-level heading and the next."""
    return PAGE.split(f"## `{name}`", 1)[1].split("\n## ", 1)[0]


@pytest.mark.parametrize(
    "model", served_models(TINY), ids=[model.name for model in served_models(TINY)]
)
def test_every_tensor_of_a_model_is_in_its_section_with_type_and_meaning(model) -> None:
    text = section(model.name)
    assert model.doc in text
    for tensor in (*model.inputs, *model.outputs):
        assert has_row(text, tensor), tensor.name


def test_what_a_client_sends_and_receives_is_in_the_first_section() -> None:
    text = section("organ_seg")
    for side in ensemble_tensors(TINY):
        for tensor in side:
            assert has_row(text, tensor), tensor.name


def has_row(text: str, tensor: Tensor) -> bool:
    return any(
        line.startswith(f"| `{tensor.name}`")
        and f"| {tensor.dtype.value} |" in line
        and tensor.doc in line
        and ("(optional)" in line) == tensor.optional
        for line in text.splitlines()
    )


def test_version_verdicts_organs_and_letters_are_listed() -> None:
    assert f"`{CONTRACT_VERSION}`" in PAGE
    for verdict in Verdict:
        assert f"`{verdict.value}` (code {verdict.code})" in PAGE
    for organ in ANSWERS:
        assert f"| {organ.id} | {organ.letter} | {organ.name} |" in PAGE


def test_the_deployment_table_has_a_row_per_preset_stage_and_platform() -> None:
    for preset in PRESETS.values():
        table = PAGE.split(f"### `{preset.name}`", 1)[1].split("\n### ", 1)[0]
        for model in served_models(preset):
            for platform in Platform:
                assert f"| {model.name} | {platform.value} |" in table


def test_the_deployment_table_says_what_memory_explanations_take_and_from_when() -> None:
    table = PAGE.split("### `llava-med-7b`", 1)[1]
    assert f"| {EXPLAIN_NAME} | tensorrt | GPU |  | bf16 | 14,432 MiB | at start |" in table
    assert f"| {EXPLAIN_NAME} | python | CPU |  | fp32 | 28,865 MiB | on first request |" in table


def test_the_page_ends_in_one_newline() -> None:
    assert PAGE.endswith("\n")
    assert not PAGE.endswith("\n\n")
