"""The table of open sessions: handles, lifetime, room, and many threads."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from organseg.contract import SessionLimits
from organseg.serving.sessions import SessionCounts, SessionTable


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


def table(clock: Clock, *, lifetime_s: float = 60, handles: int = 3) -> SessionTable[str]:
    return SessionTable(SessionLimits(lifetime_s, handles), clock)


def test_a_handle_gives_back_the_image_that_it_was_opened_for(clock):
    sessions = table(clock)
    first, second = sessions.open("liver"), sessions.open("spleen")
    assert [sessions.ask(second), sessions.ask(first), sessions.ask(first)] == [
        "spleen",
        "liver",
        "liver",
    ]


def test_handles_are_256_random_bits_in_letters_that_a_header_may_have(clock):
    sessions = table(clock, handles=1000)
    handles = {sessions.open("the same image") for _ in range(1000)}
    assert len(handles) == 1000
    assert all(re.fullmatch(rb"[A-Za-z0-9_-]{43}", handle) for handle in handles)
    # Each place takes many signs: no counter, no clock and no hash of the image is in it.
    assert all(len({handle[place] for handle in handles}) > 10 for place in range(43))


def test_a_session_ends_a_lifetime_after_its_last_question(clock):
    sessions = table(clock, lifetime_s=60)
    handle = sessions.open("liver")
    for _ in range(3):
        clock.now_s += 59
        assert sessions.ask(handle) == "liver"
    clock.now_s += 60
    assert sessions.ask(handle) is None
    assert sessions.counts().open == 0


def test_where_there_is_no_room_the_one_that_was_asked_longest_ago_ends(clock):
    sessions = table(clock, handles=2)
    asked, forgotten = sessions.open("asked"), sessions.open("forgotten")
    sessions.ask(asked)
    opened = sessions.open("opened")
    assert [sessions.ask(asked), sessions.ask(opened)] == ["asked", "opened"]
    assert sessions.ask(forgotten) is None
    assert sessions.counts() == SessionCounts(opened=3, evictions=1, lost=1, open=2)


def test_ended_sessions_make_room_before_open_ones_do(clock):
    sessions = table(clock, lifetime_s=60, handles=2)
    sessions.open("ended")
    clock.now_s += 59
    kept = sessions.open("kept")
    clock.now_s += 1
    sessions.open("opened")
    assert sessions.ask(kept) == "kept"


def test_what_was_never_opened_is_not_known(clock):
    sessions = table(clock)
    handle = sessions.open("liver")
    for guess in (b"", b"guess", handle[:-1], handle + b"=", handle.swapcase(), b"\xff" * 100_000):
        assert sessions.ask(guess) is None
    assert sessions.ask(handle) == "liver"
    assert sessions.counts().lost == 6


def test_threads_that_open_and_ask_at_once_each_get_their_own_image(clock):
    sessions: SessionTable[int] = SessionTable(SessionLimits(60, 64), clock)

    def work(thread: int) -> None:
        for turn in range(200):
            image = 1000 * thread + turn
            handle = sessions.open(image)
            assert sessions.ask(handle) == image

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert sessions.counts() == SessionCounts(1600, 1600 - 64, 0, 64)


def test_a_table_without_room_is_refused(clock):
    with pytest.raises(ValueError, match="room for one session"):
        table(clock, handles=0)
