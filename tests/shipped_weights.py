"""What is known of the weights that come with the repository, for the tests that ask them."""

from __future__ import annotations

KNOWN_WRONG = {"by function"}
"""Kinds of the demo's questions that they answer wrongly: the gland that makes insulin is taken for
none of the 13. Better weights fail the tests until their kind is taken out."""
