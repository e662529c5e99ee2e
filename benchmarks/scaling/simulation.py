"""Plays requests through the flow, event by event: forks and joins, batches, shared cores.

Mean-value analysis and Jackson networks have closed forms, but none has forks with joins, batches
and stages that slow each other down on shared cores, all of which the flow has; and they give
means, where a p95 is wanted. So the network is played. Executions on one pool share it equally
(processor sharing): while they want more than it has, all slow down alike. The pool keeps a clock
that runs slower with them, so an execution's end is known on that clock when it starts.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from benchmarks.scaling.flow import Flow, ModelError, Site, Stage
from benchmarks.scaling.load_model import Load, Outcome, Placement, Stickiness, summarise_outcome

_AS_GOOD_AS_NOW_MS = 1e-9


@dataclass(eq=False)
class _Session:
    """One user's image and where it is."""

    user: int | None
    home: int | None = None
    kept_at: set[int] = field(default_factory=set)


@dataclass(eq=False)
class _Request:
    session: _Session
    server: int
    kept: bool
    began_ms: float
    waits_for: list[int]
    entered_ms: float = 0.0


_Execution = tuple[float, int, int, int, float, tuple[_Request, ...]]
"""Its end on the pool's clock, a number that parts equal ends, server, stage, its start, batch."""


@dataclass(eq=False)
class _SharedPool:
    """A pool of one machine under processor sharing."""

    capacity: float
    demand: float = 0.0
    clock: float = 0.0
    busy_ms: float = 0.0
    ends: list[_Execution] = field(default_factory=list)

    @property
    def speed(self) -> float:
        return 1.0 if self.demand <= self.capacity else self.capacity / self.demand

    def next_end_ms(self) -> float:
        """Milliseconds until the first execution ends."""
        return (self.ends[0][0] - self.clock) / self.speed if self.ends else math.inf

    def advance(self, elapsed_ms: float) -> None:
        self.busy_ms += min(self.demand, self.capacity) * elapsed_ms
        self.clock += self.speed * elapsed_ms


def simulate(
    flow: Flow, site: Site, load: Load, *, requests: int = 4000, warm_up: int = 500, seed: int = 0
) -> Outcome:
    """What a load meets: rate, latencies, hits, and how busy everything was.

    The first `warm_up` answers are not counted. The same arguments give the same outcome.
    """
    return _Play(flow, site, load, seed).run(requests, warm_up)


class _Play:
    """One run."""

    def __init__(self, flow: Flow, site: Site, load: Load, seed: int) -> None:
        self._stages = flow.stages
        self._site, self._load = site, load
        self._random = random.Random(seed)
        places = {stage.name: place for place, stage in enumerate(flow.stages)}
        self._before = [len(stage.after) for stage in flow.stages]
        self._then: list[list[int]] = [[] for _ in flow.stages]
        for place, stage in enumerate(flow.stages):
            for name in stage.after:
                self._then[places[name]].append(place)
        self._pools = {
            (machine, pool): _SharedPool(site.capacity(pool))
            for machine in range(site.machines)
            for pool in {stage.pool for stage in flow.stages}
        }
        if any(pool.capacity <= 0 for pool in self._pools.values()):
            raise ModelError("a stage works on a pool of which the machines have none")
        self._all_pools = list(self._pools.values())
        cells = range(site.servers)
        self._queues: list[list[deque[_Request]]] = [[deque() for _ in flow.stages] for _ in cells]
        self._free = [
            [math.inf if stage.instances is None else stage.instances for stage in flow.stages]
            for _ in cells
        ]
        self._under_way = [0] * site.servers
        self._turns: dict[int | None, int] = {}
        self._now = 0.0
        self._order = itertools.count()
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._forget()
        self._answers: list[tuple[float, float, bool]] = []

    def run(self, requests: int, warm_up: int) -> Outcome:
        if self._load.users is not None:
            for user in range(self._load.users):
                self._ask(_Session(user))
        else:
            self._later(self._until_arrival_ms(), self._arrive)
        while len(self._answers) < warm_up:
            self._step()
        start_ms = self._now
        self._forget()
        while len(self._answers) < warm_up + requests:
            self._step()
        elapsed_ms = self._now - start_ms
        return summarise_outcome(
            self._answers[warm_up:],
            elapsed_ms,
            present=self._present_ms / elapsed_ms,
            batches=self._per_stage(self._started, self._executions),
            execution_ms=self._per_stage(self._execution_ms, self._ended),
            busy={
                pool: sum(p.busy_ms for (_, kind), p in self._pools.items() if kind is pool)
                / (elapsed_ms * self._site.machines * self._site.capacity(pool))
                for pool in {kind for _, kind in self._pools}
            },
        )

    def _forget(self) -> None:
        """Begins to count anew."""
        self._present_ms = 0.0
        self._executions, self._started, self._ended, self._execution_ms = (
            [0.0] * len(self._stages) for _ in range(4)
        )
        for pool in self._all_pools:
            pool.busy_ms = 0.0

    def _per_stage(self, sums: list[float], counts: list[float]) -> dict[str, float]:
        return {
            stage.name: total / max(1.0, number)
            for stage, total, number in zip(self._stages, sums, counts, strict=True)
        }

    # -- time ---------------------------------------------------------------------------------

    def _later(self, milliseconds: float, what: Callable[[], None]) -> None:
        heapq.heappush(self._timers, (self._now + milliseconds, next(self._order), what))

    def _step(self) -> None:
        pool = min(self._all_pools, key=_SharedPool.next_end_ms)
        until_end = pool.next_end_ms()
        until_timer = self._timers[0][0] - self._now if self._timers else math.inf
        elapsed = max(0.0, min(until_end, until_timer))
        self._now += elapsed
        self._present_ms += sum(self._under_way) * elapsed
        for each in self._all_pools:
            each.advance(elapsed)
        if until_timer <= until_end:
            heapq.heappop(self._timers)[2]()
        else:
            _, _, server, place, began_ms, batch = heapq.heappop(pool.ends)
            self._execution_ms[place] += self._now - began_ms
            self._ended[place] += 1
            self._finish(pool, server, place, batch)

    # -- requests -----------------------------------------------------------------------------

    def _until_arrival_ms(self) -> float:
        return self._random.expovariate(self._load.sessions_per_ms)

    def _arrive(self) -> None:
        self._later(self._until_arrival_ms(), self._arrive)
        self._ask(_Session(None))

    def _ask(self, session: _Session) -> None:
        server = self._place(session)
        shared = self._load.stickiness is Stickiness.SHARED
        kept = server in session.kept_at or (shared and bool(session.kept_at))
        request = _Request(session, server, kept, self._now, self._before.copy())
        session.kept_at.add(server)
        self._under_way[server] += 1
        for place, count in enumerate(self._before):
            if count == 0:
                self._enter(request, place)

    def _place(self, session: _Session) -> int:
        if self._load.stickiness is Stickiness.STICKY and session.home is not None:
            return session.home
        servers = self._site.servers
        if self._load.placement is Placement.RANDOM:
            chosen = self._random.randrange(servers)
        elif self._load.placement is Placement.IN_TURN:
            turn = self._turns.get(session.user, 0)
            self._turns[session.user] = turn + 1
            chosen = turn % servers
        else:
            least = min(self._under_way)
            chosen = self._random.choice(
                [server for server, count in enumerate(self._under_way) if count == least]
            )
        session.home = chosen
        return chosen

    def _answer(self, request: _Request) -> None:
        session, load = request.session, self._load
        self._under_way[request.server] -= 1
        self._answers.append((self._now - request.began_ms, self._now, request.kept))
        if self._random.random() >= load.hit_rate:
            if session.user is None:
                return
            session = _Session(session.user)
        if load.think_ms > 0:
            self._later(self._random.expovariate(1 / load.think_ms), lambda: self._ask(session))
        else:
            self._ask(session)

    # -- stages -------------------------------------------------------------------------------

    def _enter(self, request: _Request, place: int) -> None:
        if request.kept and self._stages[place].kept_share == 0:
            self._leave(request, place)
            return
        request.entered_ms = self._now
        self._queues[request.server][place].append(request)
        self._dispatch(request.server, place)

    def _leave(self, request: _Request, place: int) -> None:
        if place == len(self._stages) - 1:
            self._answer(request)
        for after in self._then[place]:
            request.waits_for[after] -= 1
            if request.waits_for[after] == 0:
                self._enter(request, after)

    def _dispatch(self, server: int, place: int) -> None:
        stage, queue = self._stages[place], self._queues[server][place]
        while queue and self._free[server][place] > 0:
            waits = queue[0].entered_ms + stage.delay_ms - self._now
            if len(queue) < stage.max_batch and waits > _AS_GOOD_AS_NOW_MS:
                self._later(waits, lambda: self._dispatch(server, place))
                return
            batch = tuple(queue.popleft() for _ in range(min(len(queue), stage.max_batch)))
            self._start(server, place, stage, batch)

    def _start(self, server: int, place: int, stage: Stage, batch: tuple[_Request, ...]) -> None:
        shares = [stage.kept_share if request.kept else 1.0 for request in batch]
        work_ms = stage.fixed_ms * max(shares) + stage.per_request_ms * sum(shares)
        if stage.variability > 0:
            shape = 1.0 / stage.variability
            work_ms *= self._random.gammavariate(shape, 1.0 / shape)
        pool = self._pools[server % self._site.machines, stage.pool]
        self._free[server][place] -= 1
        self._executions[place] += 1
        self._started[place] += len(batch)
        end = (pool.clock + work_ms, next(self._order), server, place, self._now, batch)
        heapq.heappush(pool.ends, end)
        pool.demand += stage.width

    def _finish(
        self, pool: _SharedPool, server: int, place: int, batch: tuple[_Request, ...]
    ) -> None:
        # Counted anew where nothing runs, so that rounding does not add up.
        pool.demand = pool.demand - self._stages[place].width if pool.ends else 0.0
        self._free[server][place] += 1
        for request in batch:
            self._leave(request, place)
        self._dispatch(server, place)
