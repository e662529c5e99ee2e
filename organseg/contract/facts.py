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
    """One fact; the value is its parameter's name."""

    PRESET = "preset"
    """The name of the preset."""
    INTENDED_USE = "intended_use"
    """What the release may be used for."""
    LICENCE = "licence"
    """The terms of code and weights."""
    MADE = "release_made"
    """When the release was exported, ISO 8601; only in a release."""
    TRAINED = "release_trained"
    """Whether its weights were trained, `true` or `false`; only in a release."""
    SOURCE = "release_source"
    """Where its weights came from, in a few words; only in a release."""
