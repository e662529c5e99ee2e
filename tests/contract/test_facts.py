"""What a server says of itself: in every ensemble's configuration, and no part of the contract."""

from __future__ import annotations

from organseg.contract import CONTRACT_PARAMETER, ENSEMBLE_NAME, TINY, Fact, Platform
from organseg.contract.documentation import render_documentation
from organseg.contract.pbtxt import parse_config, render_configs
from organseg.contract.version import contract_document


def parameters(facts: dict[Fact, str] | None = None) -> dict[str, str]:
    text = render_configs(TINY, Platform.PYTHON, facts=facts)[ENSEMBLE_NAME]
    return {key: one.string_value for key, one in parse_config(text).parameters.items()}


def test_every_server_states_preset_intended_use_and_licence():
    said = parameters()
    assert set(said) == {CONTRACT_PARAMETER, "preset", "intended_use", "licence"}
    assert said["preset"] == "tiny"
    assert "not a medical device" in said["intended_use"]
    assert "Apache-2.0" in said["licence"]


def test_a_release_adds_its_own_facts_and_may_state_another_licence():
    said = parameters({Fact.TRAINED: "true", Fact.LICENCE: "ask"})
    assert (said["release_trained"], said["licence"], said["preset"]) == ("true", "ask", "tiny")


def test_no_fact_changes_the_contract_version_and_each_is_on_the_page():
    page = render_documentation()
    for fact in Fact:
        assert fact.parameter not in str(contract_document())
        assert f"| `{fact.parameter}` | {fact.doc} |" in page
