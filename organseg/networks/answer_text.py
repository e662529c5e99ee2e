"""The paper's written answer: letter, explanation, segmentation information; without torch.

Letter and segmentation lines are written from the verdicts, never generated, and so is the
explanation's first sentence, which states them. A language model only goes on from there. Like the
prompt's wording, what stands before the generated words is what they were trained behind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from organseg.contract.verdicts import Verdict
from organseg.networks.wording import OPTION_TEXTS
from organseg.organs import ANSWERS, ORGANS, Organ, listed

_NOT_SHOWN = "this image does not show it"
_NOT_ASKED = f"the question asks for none of the {len(ORGANS)} organs"


@dataclass(frozen=True)
class Finding:
    """What the answer says of one asked organ."""

    organ: Organ
    """The organ; `NONE` where the question asks for none of them."""
    verdict: Verdict
    """Whether it was segmented, is absent, or nothing was in scope."""
    box_xyxy: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    """x1 y1 x2 y2 in the image's own pixels; of meaning where the organ was segmented."""


def answer_opening(findings: Sequence[Finding]) -> str:
    """The letter line and the explanation's first sentence, which states the verdicts.

    What is generated follows behind a blank, and ends its line.
    """
    letters = ", ".join(
        f"{finding.organ.letter} ({OPTION_TEXTS[ANSWERS.index(finding.organ)]})"
        for finding in findings
    )
    return f"Answer: {letters}\nExplanation: {_statement(findings)}"


def answer_closing(findings: Sequence[Finding]) -> str:
    """The segmentation line: each organ's box in whole pixels, or blank with the reason."""
    return "Segmentation: " + "; ".join(_segmentation(finding) for finding in findings)


def _statement(findings: Sequence[Finding]) -> str:
    shown = [each.organ.name for each in findings if each.verdict is Verdict.SEGMENTED]
    absent = [each.organ.name for each in findings if each.verdict is Verdict.ABSENT_IN_IMAGE]
    sentences = []
    if shown:
        sentences.append(f"The image shows the {listed(shown)}.")
    if absent:
        sentences.append(f"The image does not show the {listed(absent)}.")
    return " ".join(sentences) or f"{_NOT_ASKED[0].upper()}{_NOT_ASKED[1:]}."


def _segmentation(finding: Finding) -> str:
    if finding.verdict is Verdict.OUT_OF_SCOPE:
        return f"blank, {_NOT_ASKED}"
    if finding.verdict is Verdict.ABSENT_IN_IMAGE:
        return f"{finding.organ.name}, blank, {_NOT_SHOWN}"
    box = " ".join(str(round(edge)) for edge in finding.box_xyxy)
    return f"{finding.organ.name}, box {box} px"
