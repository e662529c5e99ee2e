"""Who takes part in a comparison: Organ-Seg's server and its peers, each stopped while idle."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from benchmarks.load.observation import ServerView, memory_mib
from benchmarks.load.plan import LoadPlan
from benchmarks.load.running import run_window
from benchmarks.load.samples import latency
from benchmarks.load.target import TargetKind, TargetSpec
from benchmarks.load.window import Window
from benchmarks.peers.goals import ORGAN_SEG, ORGAN_SEG_SESSION
from benchmarks.peers.process import PeerProcess, pause, resume, running
from benchmarks.peers.settings import Peer, PeerOrder, PeerSettings
from benchmarks.served import serving
from organseg_client import OrganSegClient

DEADLINE_S = 900.0
"""How long a request may take: 32 users of a model that takes ten seconds wait for minutes."""

Progress = Callable[[int], object]
"""Told now and then how many requests of a window were done."""


class Contender(Protocol):
    """One target of the comparison."""

    def window(self, plan: LoadPlan, progress: Progress) -> Window:
        """One window of load; the target runs for its time alone."""
        ...


@dataclass(frozen=True)
class ServedTarget:
    """A target that is a server."""

    spec: TargetSpec
    """How it is asked."""
    view: ServerView
    """Where its cost is seen; its session is its process group, too."""

    def window(self, plan: LoadPlan, progress: Progress) -> Window:
        """One window of load by locust."""
        assert self.view.session is not None
        with running(self.view.session):
            return run_window(self.spec, plan, self.view, progress=progress)


@dataclass(frozen=True)
class InProcessLoop:
    """The graphs in a Python loop: no client, no server."""

    process: PeerProcess
    """The process that has loaded them."""

    def window(self, plan: LoadPlan, progress: Progress) -> Window:
        """One window: as many requests as it can, in as many threads as were tuned."""
        with running(self.process.session):
            found = self.process.exchange({"plan": plan.numbered().to_json(), "timed": False})
            memory = memory_mib(self.process.session)
        answered = len(found["seconds"])
        progress(answered)
        return Window(
            target=Peer.IN_PROCESS.value,
            mix=plan.mix,
            loop=plan.loop,
            users=self.process.order.settings.at_once,
            rate_per_s=None,
            seconds=found["elapsed_s"],
            answered=answered,
            rejected=0,
            errors={},
            per_second=answered / found["elapsed_s"],
            latency=latency(found["seconds"]),
            client_cpu_s=0.0,
            server_cpu_s=found["cpu_s"],
            server_memory_mib=memory,
        )

    def path(self, plan: LoadPlan) -> Mapping[str, Any]:
        """Each stage's time, one request after the other, as `in_process` tells it."""
        with running(self.process.session):
            found: Mapping[str, Any] = self.process.exchange(
                {"plan": plan.numbered().to_json(), "timed": True}
            )
        return found


@dataclass(frozen=True)
class Field:
    """All that take part."""

    contenders: Mapping[str, Contender]
    """By the target's name."""
    path: InProcessLoop | None
    """Where the critical path is measured: with the threads that the release's table says, which
    the tuned loop may not have."""


@contextmanager
def open_field(
    release: Path, checkpoint: Path | None, settings: Mapping[Peer, PeerSettings]
) -> Iterator[Field]:
    """Starts Organ-Seg and the peers that have settings; each is stopped until its window.

    Raises an `OrganSegError` where one does not start.
    """
    with ExitStack() as stack:
        contenders: dict[str, Contender] = {}
        # One after the other: two that load at once would only take each other's cores.
        server = stack.enter_context(serving(release, None))
        assert server.session is not None
        _stopped(stack, server.session)
        view = ServerView(server.session, server.address, server.metrics_url)
        kinds = {ORGAN_SEG: TargetKind.ORGAN_SEG}
        if hasattr(OrganSegClient, "open"):
            kinds[ORGAN_SEG_SESSION] = TargetKind.ORGAN_SEG_SESSION
        for name, kind in kinds.items():
            spec = TargetSpec(kind, server.address, name=name, deadline_s=DEADLINE_S)
            contenders[name] = ServedTarget(spec, view)
        path = None
        for peer, chosen in settings.items():
            process = _start(stack, PeerOrder(peer, release, checkpoint, chosen))
            if peer is Peer.IN_PROCESS:
                contenders[peer.value] = InProcessLoop(process)
                path = InProcessLoop(
                    process
                    if chosen.threads is None
                    else _start(stack, PeerOrder(peer, release, checkpoint, PeerSettings()))
                )
            else:
                contenders[peer.value] = served_peer(process)
        yield Field(contenders, path)


def served_peer(process: PeerProcess) -> ServedTarget:
    """A peer's process that serves, as a contender."""
    name = process.order.peer.value
    spec = TargetSpec(TargetKind.HTTP, process.address, name=name, deadline_s=DEADLINE_S)
    return ServedTarget(spec, ServerView(process.session))


def contender_of(process: PeerProcess) -> Contender:
    """A peer's process as a contender."""
    return InProcessLoop(process) if process.order.peer is Peer.IN_PROCESS else served_peer(process)


def _start(stack: ExitStack, order: PeerOrder) -> PeerProcess:
    process = stack.enter_context(PeerProcess(order))
    _stopped(stack, process.session)
    return process


def _stopped(stack: ExitStack, group: int) -> None:
    """Stops a group until it is measured; it goes on before it is told to end."""
    stack.callback(resume, group)
    pause(group)
