"""How much a server keeps: what the user says overrides what the release says."""

from __future__ import annotations

import pytest

from organseg.contract import SessionLimits
from organseg.errors import ServerStartError
from organseg.serving.bounds import HANDLES_VARIABLE, LIFETIME_VARIABLE, kept_bytes, session_limits

RELEASED = SessionLimits(lifetime_s=1800, handles=4096)


def test_without_a_word_of_the_user_the_release_is_held_to():
    # A Compose file gives what nobody set as an empty value.
    assert session_limits(RELEASED, {HANDLES_VARIABLE: ""}) == RELEASED
    assert kept_bytes("llava_med", 1234567, {}) == 1234567


def test_the_users_numbers_override_the_releases():
    said = {LIFETIME_VARIABLE: "7.5", HANDLES_VARIABLE: "12"}
    assert session_limits(RELEASED, said) == SessionLimits(7.5, 12)
    said = {"ORGANSEG_KEPT_MIB_LLAVA_MED": "0.5", "ORGANSEG_KEPT_MIB_IMAGE_FEATURES": "0"}
    assert kept_bytes("llava_med", 1234567, said) == 2**19
    assert kept_bytes("image_features", 1234567, said) == 0


def test_a_stage_that_keeps_nothing_in_its_release_is_not_made_to():
    assert kept_bytes("llava_med", 0, {"ORGANSEG_KEPT_MIB_LLAVA_MED": "64"}) == 0


@pytest.mark.parametrize("value", ["many", "-1", "nan", "inf"])
def test_what_is_no_number_stops_the_start(value):
    with pytest.raises(ServerStartError, match=HANDLES_VARIABLE):
        session_limits(RELEASED, {HANDLES_VARIABLE: value})
    with pytest.raises(ServerStartError, match="ORGANSEG_KEPT_MIB_LLAVA_MED"):
        kept_bytes("llava_med", 1, {"ORGANSEG_KEPT_MIB_LLAVA_MED": value})
