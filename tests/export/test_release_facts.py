"""The facts of a release: from its checkpoint's card and the sources of its parts."""

from __future__ import annotations

from pathlib import Path

from export.facts import release_facts
from organseg.contract import ENSEMBLE_NAME, LICENCE, Fact
from organseg.contract.pbtxt import parse_config
from organseg.networks.checkpoint import CheckpointCard
from organseg.serving.manifest import verify_release

CARD = CheckpointCard(
    preset="tiny", trained=True, text_encoder_sha256="0" * 64, description="trained on phantoms"
)


def test_a_whole_checkpoint_is_described_by_its_card():
    assert release_facts(CARD, created="2026-08-01T10:00:00+00:00", sources=[]) == {
        Fact.MADE: "2026-08-01T10:00:00+00:00",
        Fact.TRAINED: "true",
        Fact.SOURCE: "trained on phantoms",
    }


def test_parts_from_elsewhere_bring_their_names_and_licences():
    sources = [
        {"part": "llava_med", "name": "microsoft/llava-med", "licence": "research only"},
        {"part": "medsam", "name": "medsam_vit_b.pth", "licence": None},
        # As `export.source_options` records the tower that lies in LLaVA-Med's own files.
        {"part": "vision_tower", "name": "own tower of llava_med"},
    ]
    facts = release_facts(CARD, created="now", sources=sources)
    assert facts[Fact.SOURCE] == (
        "llava_med: microsoft/llava-med, medsam: medsam_vit_b.pth, "
        "vision_tower: own tower of llava_med"
    )
    assert facts[Fact.LICENCE] == f"{LICENCE}; llava_med: research only; medsam: not known"


def test_a_release_states_what_its_manifest_says(release: Path):
    manifest = verify_release(release)
    text = (release / "models" / ENSEMBLE_NAME / "config.pbtxt").read_text()
    said = parse_config(text).parameters
    assert said[Fact.MADE.parameter].string_value == manifest.created
    assert said[Fact.TRAINED.parameter].string_value == "false"
    assert "random weights" in said[Fact.SOURCE.parameter].string_value
