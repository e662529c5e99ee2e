"""How much one request may carry: the bounds that every client and server hold to."""

from __future__ import annotations

from organseg.contract.models import MAX_SIDE, MIN_SIDE

__all__ = ["MAX_IMAGE_BYTES", "MAX_QUERY_BYTES", "MAX_SIDE", "MIN_SIDE"]

MAX_IMAGE_BYTES = 64 * 2**20
"""Encoded bytes of one image: an uncompressed 16-bit image of the greatest size fits twice."""

MAX_QUERY_BYTES = 1024
"""UTF-8 bytes of one question: some 150 words, more than the prompt's room for it."""
