"""The scans that are open: bounded in number and memory, closed when nobody uses them."""

from __future__ import annotations

import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from organseg_client.page.answers import Answer
from organseg_client.page.options import PageLimits
from organseg_client.page.scan import OpenScan
from organseg_client.page.words import ScanClosedError, TooLargeError

__all__ = ["ScanStore", "Session"]

_MIB = 2**20


class Session:
    """One open scan with its answers."""

    def __init__(self, identity: str, scan: OpenScan, folder: Path | None) -> None:
        self.identity = identity
        self.scan = scan
        self.answers: dict[int, Answer] = {}
        self.users = 0
        self.used_at_s = 0.0
        self._folder = folder
        self._asked = 0

    def next_number(self) -> int:
        """The number of the next question."""
        self._asked += 1
        return self._asked

    def answer(self, number: int) -> Answer:
        """The answer of that number; raises `ScanClosedError` where it is not kept (any more)."""
        try:
            return self.answers[number]
        except KeyError:
            raise ScanClosedError(
                f"wanted an answer that is kept, came number {number}, which is not; ask again"
            ) from None

    @property
    def size_bytes(self) -> int:
        """What scan and answers hold in memory."""
        return self.scan.size_bytes + sum(each.size_bytes for each in self.answers.values())

    def close(self) -> None:
        """Removes the uploaded files, if there are any."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)


class ScanStore:
    """All open scans. Belongs to one event loop; none of its methods waits."""

    def __init__(self, limits: PageLimits, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._clock = clock
        self._sessions: dict[str, Session] = {}
        self._first: Session | None = None

    def __len__(self) -> int:
        return len(self._sessions)

    @property
    def first(self) -> Session | None:
        """The command line's scan, if there is one; never closed."""
        return self._first

    def add(self, scan: OpenScan, folder: Path | None) -> Session:
        """Opens a scan whose uploaded files lie in `folder`; closes others to make room.

        Raises `TooLargeError` for a scan that does not fit even alone.
        """
        if scan.size_bytes > self._limits.memory_bytes:
            raise TooLargeError(
                f"wanted a scan of at most {self._limits.memory_bytes // _MIB} MiB in memory, "
                f"came one of {scan.size_bytes // _MIB}; crop or resample it, or start the page "
                "with a larger --memory"
            )
        session = Session(secrets.token_urlsafe(12), scan, folder)
        session.used_at_s = self._clock()
        self._sessions[session.identity] = session
        self._make_room(session)
        return session

    def add_first(self, scan: OpenScan) -> Session:
        """Opens the command line's scan, which stays open."""
        self._first = self.add(scan, None)
        return self._first

    def keep(self, session: Session, answer: Answer) -> None:
        """Keeps an answer; the oldest ones go, and other scans, where there is no room."""
        session.answers[answer.number] = answer
        while len(session.answers) > self._limits.answers:
            del session.answers[min(session.answers)]
        self._make_room(session)
        while len(session.answers) > 1 and self._total_bytes() > self._limits.memory_bytes:
            del session.answers[min(session.answers)]

    @contextmanager
    def using(self, identity: str) -> Iterator[Session]:
        """The open scan of that identity, which nothing closes in the meantime.

        Raises `ScanClosedError` where there is none.
        """
        session = self._sessions.get(identity)
        if session is None:
            raise ScanClosedError(
                "wanted an image that is open, came one that was closed: it was not used for "
                f"{self._limits.idle_s / 60:.0f} minutes, made room for others, or the page was "
                "started again; open it again"
            )
        session.users += 1
        try:
            yield session
        finally:
            session.users -= 1
            session.used_at_s = self._clock()

    def close(self, identity: str) -> None:
        """Closes a scan; does nothing for one that is closed, or the command line's."""
        session = self._sessions.get(identity)
        if session is not None and session is not self._first:
            del self._sessions[identity]
            session.close()

    def close_idle(self) -> int:
        """Closes the scans that nobody used for long; gives how many."""
        oldest_s = self._clock() - self._limits.idle_s
        idle = [each for each in self._closable() if each.used_at_s < oldest_s]
        for session in idle:
            self.close(session.identity)
        return len(idle)

    def close_all(self) -> None:
        """Closes every scan, the command line's too."""
        for session in self._sessions.values():
            session.close()
        self._sessions.clear()
        self._first = None

    def _make_room(self, for_session: Session) -> None:
        others = [each for each in self._closable() if each is not for_session]
        others.sort(key=lambda each: each.used_at_s)
        for session in others:
            fits = self._total_bytes() <= self._limits.memory_bytes
            if fits and len(self._sessions) <= self._limits.scans:
                return
            self.close(session.identity)

    def _closable(self) -> list[Session]:
        return [
            each for each in self._sessions.values() if each is not self._first and not each.users
        ]

    def _total_bytes(self) -> int:
        return sum(each.size_bytes for each in self._sessions.values())
