"""The flow as a network of queues: what each stage costs, on what, and after which others."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import Any


class Pool(Enum):
    """What a stage works on; all that work on the same one at once share it."""

    CPU = "cpu"
    """The cores of a machine."""
    GPU = "gpu"
    """The GPUs of a machine."""


class ModelError(ValueError):
    """A flow that no request could walk: a mistake of whoever built it."""


@dataclass(frozen=True)
class Stage:
    """One stage of one server. A batch of b takes `fixed_ms + b * per_request_ms` if alone."""

    name: str
    """The stage's word."""
    per_request_ms: float
    """What each request of a batch adds, milliseconds."""
    fixed_ms: float = 0.0
    """What a batch takes whatever is in it, milliseconds."""
    after: tuple[str, ...] = ()
    """The stages whose outputs it waits for."""
    pool: Pool = Pool.CPU
    """What it works on."""
    width: float = 1.0
    """How many cores (or GPUs) one execution keeps busy."""
    instances: int | None = 1
    """How many batches it works on at once; None for any number."""
    max_batch: int = 1
    """Requests that it joins at most."""
    delay_ms: float = 0.0
    """How long an idle instance waits for a batch to fill."""
    variability: float = 0.0
    """Squared coefficient of variation of its time: 0 always the same, 1 exponential."""
    kept_share: float = 1.0
    """Share of its work that is left where the server has kept the image; 0 skips it."""

    def batch_ms(self, requests: float) -> float:
        """Time of a batch that has its pool to itself, milliseconds."""
        return self.fixed_ms + self.per_request_ms * requests

    def request_ms(self, batch: float, hit_rate: float = 0.0) -> float:
        """Mean time spent for one request in batches of this mean size, milliseconds.

        `hit_rate` is the share of requests whose image the server has kept.
        """
        return self.batch_ms(batch) / batch * (1.0 - hit_rate * (1.0 - self.kept_share))


@dataclass(frozen=True)
class Flow:
    """The stages in the order in which data walks them; the last one's end is the answer."""

    stages: tuple[Stage, ...]
    """Each behind those that it waits for."""

    def __post_init__(self) -> None:
        """Refuses a flow that is out of order or has no single end."""
        seen: set[str] = set()
        for stage in self.stages:
            if missing := set(stage.after) - seen:
                raise ModelError(f"stage {stage.name!r} waits for {missing}, none of them before")
            if stage.name in seen:
                raise ModelError(f"two stages {stage.name!r}")
            seen.add(stage.name)
        waited_for = {name for stage in self.stages for name in stage.after}
        if not self.stages or waited_for != seen - {self.stages[-1].name}:
            raise ModelError("every stage but the last must be waited for by another")

    def stage(self, name: str) -> Stage:
        """The stage of this name; raises `KeyError` where there is none."""
        for stage in self.stages:
            if stage.name == name:
                return stage
        raise KeyError(name)

    def with_instances(self, name: str, instances: int) -> Flow:
        """The same with another number of instances of one stage."""
        return Flow(
            tuple(
                replace(stage, instances=instances) if stage.name == name else stage
                for stage in self.stages
            )
        )

    def unloaded_ms(self, *, kept: bool = False) -> float:
        """A lone request's time, its branches side by side, milliseconds.

        Idle instances wait for company in vain, and that is in it.
        """
        ends: dict[str, float] = {}
        for stage in self.stages:
            start = max((ends[name] for name in stage.after), default=0.0)
            share = stage.kept_share if kept else 1.0
            wait = stage.delay_ms if share else 0.0
            ends[stage.name] = start + wait + stage.batch_ms(1) * share
        return ends[self.stages[-1].name]


@dataclass(frozen=True)
class Site:
    """Servers and the machines that they share."""

    servers: int = 1
    """Servers, spread over the machines in turn."""
    machines: int = 1
    """Machines."""
    cores: float = 2.0
    """Cores of each machine."""
    gpus: float = 0.0
    """GPUs of each machine; stages on `Pool.GPU` share them."""

    def capacity(self, pool: Pool) -> float:
        """How much of a pool a machine has."""
        return self.cores if pool is Pool.CPU else self.gpus

    def to_json(self) -> dict[str, Any]:
        """As plain values for JSON."""
        return dict(self.__dict__)


@dataclass(frozen=True)
class Bound:
    """What limits the rate of one server, and to what."""

    resource: str
    """A stage, or `cpu` or `gpu` for the machine itself."""
    per_s: float
    """Requests per second that it can do at most."""

    @property
    def is_machine(self) -> bool:
        """Whether more instances would change nothing."""
        return self.resource in {pool.value for pool in Pool}


def bounds(flow: Flow, site: Site, *, hit_rate: float = 0.0, full: bool = True) -> list[Bound]:
    """The limit of every stage and pool on one machine's rate, the lowest first.

    The utilisation law: a stage with c instances that spends S for a request does at most c / S
    (P. J. Denning and J. P. Buzen, "The Operational Analysis of Queueing Network Models", ACM
    Computing Surveys 10(3), 1978). `full` reckons with full batches, else with single requests.
    """
    share = site.servers / site.machines
    found: list[Bound] = []
    busy = dict.fromkeys(Pool, 0.0)
    for stage in flow.stages:
        spent_ms = stage.request_ms(stage.max_batch if full else 1, hit_rate)
        busy[stage.pool] += spent_ms * stage.width
        if stage.instances is not None and spent_ms > 0:
            found.append(Bound(stage.name, share * stage.instances * 1e3 / spent_ms))
    for pool, core_ms in busy.items():
        if core_ms > 0:
            found.append(Bound(pool.value, site.capacity(pool) * 1e3 / core_ms))
    # Where a stage and the machine are as low, the machine is named: instances would not help.
    return sorted(found, key=lambda bound: (bound.per_s, not bound.is_machine))
