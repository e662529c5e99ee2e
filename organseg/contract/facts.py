"""What a server says of itself in the ensemble's parameters, for clients to pass on.

None of it changes what a tensor means, so none of it is part of the contract version.
"""

from __future__ import annotations

from enum import Enum

INTENDED_USE = "research and engineering only, not a medical device"
"""What every release may be used for."""

LICENCE = "code, and the weights that come with it: Apache-2.0"
"""The terms of this repository; a release whose weights came from elsewhere adds theirs."""

SAMPLE_QUESTION = "Which organ stores bile?"
"""What is asked where any question will do: by warm-up, by probes of a server's health."""


class Fact(Enum):
    """One fact: the name of its parameter, and what it says."""

    PRESET = ("preset", "the name of the preset")
    INTENDED_USE = ("intended_use", "what the release may be used for")
    LICENCE = ("licence", "the terms of code and weights")
    MADE = ("release_made", "when the release was exported, ISO 8601; only in a release")
    TRAINED = (
        "release_trained",
        "`true` or `false`: answers of untrained weights mean nothing; only in a release",
    )
    SOURCE = ("release_source", "where its weights come from, for people; only in a release")

    def __init__(self, parameter: str, doc: str) -> None:
        self.parameter = parameter
        self.doc = doc
