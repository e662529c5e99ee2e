"""What is kept is bounded in bytes, and the least recently used goes first."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from organseg.serving.kept import Kept, KeptCounts


def thing(size: int) -> npt.NDArray[np.uint8]:
    return np.zeros(size, dtype=np.uint8)


def test_the_least_recently_used_goes_to_make_room():
    kept: Kept[npt.NDArray[np.uint8]] = Kept(10)
    assert all(kept.put(key, thing(4)) for key in (b"a", b"b"))
    assert kept.get(b"a") is not None
    assert kept.put(b"c", thing(4))
    assert kept.get(b"b") is None
    assert kept.get(b"a") is not None
    assert kept.get(b"c") is not None
    assert kept.counts() == KeptCounts(evictions=1, kept_bytes=8)


def test_as_many_go_as_the_new_one_needs():
    kept: Kept[npt.NDArray[np.uint8]] = Kept(10)
    for key in (b"a", b"b", b"c"):
        kept.put(key, thing(3))
    kept.put(b"d", thing(10))
    assert kept.counts() == KeptCounts(evictions=3, kept_bytes=10)


def test_what_is_larger_than_the_bound_is_not_kept_and_costs_nothing_that_is():
    kept: Kept[npt.NDArray[np.uint8]] = Kept(10)
    kept.put(b"a", thing(4))
    assert not kept.put(b"b", thing(11))
    assert kept.get(b"b") is None
    assert kept.get(b"a") is not None


def test_the_same_key_again_takes_no_more_room():
    kept: Kept[npt.NDArray[np.uint8]] = Kept(10)
    for size in (4, 4, 6):
        kept.put(b"a", thing(size))
    assert kept.counts() == KeptCounts(kept_bytes=6)


def test_hits_and_misses_are_what_was_taken_down():
    kept: Kept[npt.NDArray[np.uint8]] = Kept(10)
    kept.count(misses=1)
    kept.count(hits=2)
    assert kept.counts() == KeptCounts(hits=2, misses=1)
