"""The written lines of an answer: they say what the verdicts say, word for word."""

from __future__ import annotations

import pytest

from organseg.contract import Verdict
from organseg.networks.answer_text import Finding, answer_closing, answer_opening
from organseg.organs import NONE, organ_by_name

GALLBLADDER, LEFT_KIDNEY = organ_by_name("gallbladder"), organ_by_name("left kidney")
SHOWN = Finding(GALLBLADDER, Verdict.SEGMENTED, (40.6, 87.2, 101.5, 140.0))
ABSENT = Finding(LEFT_KIDNEY, Verdict.ABSENT_IN_IMAGE)


@pytest.mark.parametrize(
    ("findings", "opening", "closing"),
    [
        (
            [SHOWN],
            "Answer: I (gallbladder)\nExplanation: The image shows the gallbladder.",
            "Segmentation: gallbladder, box 41 87 102 140 px",
        ),
        (
            [ABSENT],
            "Answer: M (left kidney)\nExplanation: The image does not show the left kidney.",
            "Segmentation: left kidney, blank, this image does not show it",
        ),
        (
            [Finding(NONE, Verdict.OUT_OF_SCOPE)],
            "Answer: N (none of them)\nExplanation: The question asks for none of the 13 organs.",
            "Segmentation: blank, the question asks for none of the 13 organs",
        ),
        (
            [SHOWN, ABSENT],
            "Answer: I (gallbladder), M (left kidney)\n"
            "Explanation: The image shows the gallbladder. "
            "The image does not show the left kidney.",
            "Segmentation: gallbladder, box 41 87 102 140 px; "
            "left kidney, blank, this image does not show it",
        ),
    ],
)
def test_the_lines_say_what_was_found(findings, opening, closing):
    assert answer_opening(findings) == opening
    assert answer_closing(findings) == closing
