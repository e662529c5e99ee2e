"""The wording of the multiple-choice prompt, without torch: the model and the data share it.

A trained language model depends on every sign of it: another wording asks for another training.
"""

from __future__ import annotations

from organseg.organs import ANSWERS, NONE

OPTION_TEXTS: tuple[str, ...] = tuple(
    "none of them" if answer is NONE else answer.name for answer in ANSWERS
)
"""The texts of the 14 options, in the order of their letters A to N."""

OPTIONS = " ".join(
    f"{answer.letter}. {text}" for answer, text in zip(ANSWERS, OPTION_TEXTS, strict=True)
)
"""The options as the prompt lists them, each behind its letter."""

TEXT_BEFORE_IMAGE = "[INST] "
"""What stands before the image tokens."""
TEXT_AFTER_IMAGE = (
    "\nThis is one axial slice of an abdominal scan. Which of these organs does the question "
    f"ask for? {OPTIONS}\nQuestion: "
)
"""What stands between the image tokens and the question."""
TEXT_AFTER_QUESTION = " [/INST]"
"""What closes the prompt."""

IMAGE_PLACEHOLDER = "<image>"
"""Where a prompt in words has its image; the model is given image tokens there."""


def prompt_text(question: str) -> str:
    """The whole prompt of a question in words, for records and people."""
    return (
        f"{TEXT_BEFORE_IMAGE}{IMAGE_PLACEHOLDER}{TEXT_AFTER_IMAGE}{question}{TEXT_AFTER_QUESTION}"
    )
