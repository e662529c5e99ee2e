"""Who a phantom is, and which seeds are kept for what, so that no test patient is trained on."""

from __future__ import annotations

__all__ = ["FIRST_TRAINING_SEED", "phantom_patient_id"]

FIRST_TRAINING_SEED = 10_000
"""Training and its validation take seeds from here on; tests and evaluation those below."""


def phantom_patient_id(seed: int) -> str:
    """The patient of a seed, spelt the same in training and evaluation: `phantom-7`."""
    return f"phantom-{seed}"
