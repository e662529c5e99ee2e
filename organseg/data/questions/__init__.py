"""Questions about the 13 organs and beyond them: the set, its checks, and image–question pairs.

The texts are data (`files/*/*.json`, written for this project, each with its kind and source
fact); `python -m organseg.data.questions` prints what they hold.
"""

from organseg.data.questions.loader import BUILT_IN_FOLDER, load_questions
from organseg.data.questions.near_copies import NearCopy, near_copies
from organseg.data.questions.pairs import (
    ImageQuestion,
    Proportions,
    SliceOrgans,
    answer,
    make_pairs,
)
from organseg.data.questions.question import (
    ORGAN_KINDS,
    OUT_OF_SCOPE_KINDS,
    Question,
    QuestionKind,
    Split,
)
from organseg.data.questions.typos import with_typos

__all__ = [
    "BUILT_IN_FOLDER",
    "ORGAN_KINDS",
    "OUT_OF_SCOPE_KINDS",
    "ImageQuestion",
    "NearCopy",
    "Proportions",
    "Question",
    "QuestionKind",
    "SliceOrgans",
    "Split",
    "answer",
    "load_questions",
    "make_pairs",
    "near_copies",
    "with_typos",
]
