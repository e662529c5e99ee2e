"""What is known of the weights that come with the repository, for the tests that ask them."""

from __future__ import annotations

KNOWN_WRONG = {"in clumsy words"}
"""Kinds of the demo's questions that they answer wrongly: "strait down from the hart" brings the
esophagus beside the aorta. Better weights fail the tests until their kind is taken out."""
