"""Open scans: bounded in number and memory, closed when idle, never while in use."""

from __future__ import annotations

import numpy as np
import pytest

from organseg.imaging.windowing import Modality
from organseg_client.page.answers import Answer, Scope
from organseg_client.page.options import PageLimits
from organseg_client.page.scan import OpenScan, ScanKind
from organseg_client.page.store import ScanStore
from organseg_client.page.words import ScanClosedError, TooLargeError

_KIB = 1024


class Clock:
    """Seconds that a test turns."""

    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def scan_of(kibibytes: int) -> OpenScan:
    return OpenScan(
        kind=ScanKind.PICTURE,
        name="scan.png",
        shown=np.zeros((1, kibibytes, _KIB), dtype=np.uint8),
        window=(0.0, 255.0),
        spacing_zyx_mm=(1.0, 1.0, 1.0),
        modality=Modality.UNKNOWN,
    )


def answer_of(number: int, kibibytes: int) -> Answer:
    labels = np.zeros((kibibytes, _KIB), dtype=np.uint8)
    return Answer(number, Scope.SLICE, 0, "Where is the liver?", None, labels, {})


def is_open(store: ScanStore, identity: str) -> bool:
    try:
        with store.using(identity):
            return True
    except ScanClosedError:
        return False


def test_the_least_recently_used_scan_makes_room_for_a_new_one():
    clock = Clock()
    store = ScanStore(PageLimits(scans=2), clock)
    first, second = store.add(scan_of(1), None), store.add(scan_of(1), None)
    clock.now_s = 5.0
    with store.using(first.identity):
        pass
    third = store.add(scan_of(1), None)
    assert [is_open(store, each.identity) for each in (first, second, third)] == [True, False, True]


def test_memory_is_bounded_over_all_scans():
    clock = Clock()
    store = ScanStore(PageLimits(memory_bytes=10 * _KIB), clock)
    old = store.add(scan_of(6), None)
    clock.now_s = 1.0
    new = store.add(scan_of(6), None)
    assert not is_open(store, old.identity)
    assert is_open(store, new.identity)


def test_a_scan_that_fits_nowhere_is_refused_with_words():
    store = ScanStore(PageLimits(memory_bytes=2**20))
    with pytest.raises(TooLargeError, match="wanted a scan of at most 1 MiB in memory"):
        store.add(scan_of(2 * _KIB), None)
    assert len(store) == 0


def test_a_scan_in_use_is_not_closed_for_another_or_for_idleness():
    clock = Clock()
    store = ScanStore(PageLimits(scans=1, idle_s=10.0), clock)
    used = store.add(scan_of(1), None)
    with store.using(used.identity):
        clock.now_s = 100.0
        store.add(scan_of(1), None)
        store.close_idle()
        assert is_open(store, used.identity)


def test_idle_scans_are_closed_and_their_files_removed(tmp_path):
    clock = Clock()
    store = ScanStore(PageLimits(idle_s=60.0), clock)
    folder = tmp_path / "upload"
    folder.mkdir()
    (folder / "00000.dcm").write_bytes(b"x")
    session = store.add(scan_of(1), folder)
    clock.now_s = 59.0
    assert store.close_idle() == 0
    clock.now_s = 61.0
    assert store.close_idle() == 1
    assert not folder.exists()
    with (
        pytest.raises(ScanClosedError, match="was not used for 1 minutes"),
        store.using(session.identity),
    ):
        pass


def test_the_command_lines_scan_stays_open():
    clock = Clock()
    store = ScanStore(PageLimits(scans=1, idle_s=1.0), clock)
    first = store.add_first(scan_of(1))
    clock.now_s = 1000.0
    store.add(scan_of(1), None)
    store.close_idle()
    store.close(first.identity)
    assert is_open(store, first.identity)


def test_the_oldest_answers_go_when_there_are_too_many_or_too_large():
    store = ScanStore(PageLimits(answers=2, memory_bytes=10 * _KIB))
    session = store.add(scan_of(1), None)
    for number in (1, 2, 3):
        store.keep(session, answer_of(number, 1))
    assert list(session.answers) == [2, 3]
    store.keep(session, answer_of(4, 9))
    assert list(session.answers) == [4]
    with pytest.raises(ScanClosedError, match="came number 2, which is not; ask again"):
        session.answer(2)


def test_identities_cannot_be_guessed():
    store = ScanStore(PageLimits())
    identities = {store.add(scan_of(1), None).identity for _ in range(5)}
    assert len(identities) == 5
    assert min(map(len, identities)) >= 16
