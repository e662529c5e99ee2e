"""The context cache as a file: what it keeps and what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from organseg.errors import CheckpointError
from organseg.networks.context_cache import (
    build_context_cache,
    default_context_cache,
    load_context_cache,
    load_descriptions,
)
from organseg.networks.gate import Thresholds
from organseg.organs import NONE, ORGANS


def test_a_cache_comes_back_from_its_file_as_it_was(tmp_path):
    cache = replace(
        default_context_cache(),
        temperature=0.031,
        thresholds=Thresholds(0.01, 0.02, tuple(np.linspace(0.1, 0.9, 13).tolist())),
    )
    cache.save(tmp_path / "cache.safetensors")
    loaded = load_context_cache(tmp_path / "cache.safetensors")
    np.testing.assert_array_equal(loaded.prototypes, cache.prototypes)
    np.testing.assert_array_equal(loaded.organ_ids, cache.organ_ids)
    for name in ("labels", "encoder_name", "encoder_sha256", "temperature", "thresholds"):
        assert getattr(loaded, name) == getattr(cache, name), name


def test_the_shipped_cache_is_what_its_descriptions_give():
    shipped, built = default_context_cache(), build_context_cache(load_descriptions())
    assert shipped.labels == built.labels
    assert shipped.encoder_sha256 == built.encoder_sha256
    # The encoder's float32 sums differ in the last bits from machine to machine.
    np.testing.assert_allclose(shipped.prototypes, built.prototypes, atol=1e-4)


def test_every_organ_has_several_descriptions_and_c_prime_has_several_topics():
    descriptions = load_descriptions()
    assert set(descriptions["organs"]) == {organ.name for organ in ORGANS}
    assert min(len(texts) for texts in descriptions["organs"].values()) >= 8
    assert len(descriptions["irrelevant"]) >= 8


def test_a_cache_of_another_encoder_is_refused():
    cache = default_context_cache()
    cache.require_encoder(cache.encoder_sha256)
    with pytest.raises(CheckpointError, match="build the cache again"):
        cache.require_encoder("0" * 64)


def test_a_cache_without_an_organ_or_without_anything_irrelevant_is_refused():
    cache = default_context_cache()
    with pytest.raises(CheckpointError, match="one prototype for each of 13 organs"):
        replace(cache, organ_ids=np.where(cache.organ_ids == 3, 4, cache.organ_ids))
    organs_only = cache.organ_ids != NONE.id
    with pytest.raises(CheckpointError, match="irrelevant"):
        replace(
            cache,
            organ_ids=cache.organ_ids[organs_only],
            prototypes=cache.prototypes[organs_only],
            labels=cache.labels[:13],
        )


@pytest.mark.parametrize(
    "content", [b"", b"not a cache", b"\x08\x00\x00\x00\x00\x00\x00\x00{}      "]
)
def test_a_file_that_is_no_cache_is_refused(tmp_path, content):
    path = tmp_path / "cache.safetensors"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="not one"):
        load_context_cache(path)
