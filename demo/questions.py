"""What the demo asks: each kind of question once, about slices that this project made."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DemoQuestion:
    """One question about one sample."""

    image: str
    """The sample's file name in `demo/samples`."""
    question: str
    """The question, as a person would put it."""
    kind: str
    """What it shows."""
    organs: tuple[str, ...]
    """The organs that it asks for; none for a question out of scope."""


QUESTIONS: tuple[DemoQuestion, ...] = (
    DemoQuestion(
        "ct_middle_abdomen.png", "Which gland makes insulin?", "by function", ("pancreas",)
    ),
    DemoQuestion("ct_upper_abdomen.png", "Segment the spleen.", "by name", ("spleen",)),
    DemoQuestion(
        "ct_upper_abdomen.png",
        "Outline the liver and the spleen.",
        "two organs at once",
        ("liver", "spleen"),
    ),
    DemoQuestion(
        "ct_lower_abdomen.png", "Which kidney lies on the right?", "by side", ("right kidney",)
    ),
    DemoQuestion("ct_pelvis.png", "Where is the liver?", "not in this slice", ("liver",)),
    DemoQuestion(
        "ct_upper_abdomen.png",
        "Which organ is responsible for breathing?",
        "none of the 13 organs",
        (),
    ),
    DemoQuestion(
        "ct_lower_abdomen.png",
        "pls show teh big blood pipe that comes strait down from the hart",
        "in clumsy words",
        ("aorta",),
    ),
    DemoQuestion(
        "mr_upper_abdomen.png", "Show me the stomach.", "on an MR-like slice", ("stomach",)
    ),
)
