"""Verdicts, their codes, and the padded counts of prompts."""

from __future__ import annotations

import pytest

from organseg.contract import PADDING, PROMPT_COUNTS, Verdict, padded_count, summarise

SEGMENTED, ABSENT, OUT = Verdict.SEGMENTED, Verdict.ABSENT_IN_IMAGE, Verdict.OUT_OF_SCOPE


@pytest.mark.parametrize("verdict", Verdict)
def test_a_verdict_survives_its_code(verdict: Verdict) -> None:
    assert Verdict.from_code(verdict.code) is verdict


def test_codes_are_distinct_and_none_means_padding() -> None:
    codes = [verdict.code for verdict in Verdict]
    assert len(set(codes)) == len(codes)
    assert PADDING not in codes
    with pytest.raises(KeyError):
        Verdict.from_code(PADDING)


@pytest.mark.parametrize(
    ("verdicts", "whole"),
    [
        ([SEGMENTED], SEGMENTED),
        ([ABSENT], ABSENT),
        ([OUT], OUT),
        ([ABSENT, SEGMENTED], SEGMENTED),
        ([OUT, ABSENT], ABSENT),
        ([], OUT),
    ],
)
def test_the_whole_answer_is_segmented_if_any_organ_was_else_absent_else_out_of_scope(
    verdicts: list[Verdict], whole: Verdict
) -> None:
    assert summarise(verdicts) is whole


def test_prompts_are_padded_to_the_next_count_the_decoder_sees() -> None:
    padded = [padded_count(count) for count in range(1, 14)]
    assert padded == [1, 2, 4, 4] + [13] * 9
    assert set(padded) == set(PROMPT_COUNTS)


@pytest.mark.parametrize("count", [-1, 0, 14])
def test_no_prompts_or_more_than_organs_are_refused(count: int) -> None:
    with pytest.raises(ValueError, match=f"wanted 1 to 13 prompts, got {count}"):
        padded_count(count)
