"""The simulation against closed results of queueing theory, each cited in `formulas`."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.scaling.flow import Flow, ModelError, Pool, Site, Stage, bounds
from benchmarks.scaling.formulas import (
    asymptotic_throughput,
    erlang_c,
    ggc_waiting,
    mg1_waiting,
    mmc_waiting,
    shared_sojourn,
    spread_hit_rate,
)
from benchmarks.scaling.load_model import Load, Placement, Stickiness
from benchmarks.scaling.simulation import simulate

SERVICE_MS = 10.0
ROOMY = Site(cores=1e6)
FORKED = Flow(
    (
        Stage("read", 2.0),
        Stage("left", 20.0, after=("read",), fixed_ms=4.0, max_batch=4, delay_ms=1.0),
        Stage("right", 12.0, after=("read",), kept_share=0.25),
        Stage("write", 5.0, after=("left", "right"), width=2.0),
    )
)


def alone(**more: object) -> Flow:
    """One stage."""
    return Flow((replace(Stage("stage", SERVICE_MS), **more),))  # type: ignore[arg-type]


@pytest.mark.parametrize(("instances", "load"), [(1, 0.6), (3, 0.7)])
def test_exponential_times_wait_as_erlang_says(instances: int, load: float) -> None:
    rate = load * instances / SERVICE_MS
    outcome = simulate(
        alone(instances=instances, variability=1.0),
        ROOMY,
        Load(rate_per_s=rate * 1e3),
        requests=40_000,
        warm_up=1_000,
    )
    wanted = mmc_waiting(instances, rate, SERVICE_MS)
    assert outcome.mean_ms - SERVICE_MS == pytest.approx(wanted, rel=0.08)


@pytest.mark.parametrize("variability", [0.0, 0.5])
def test_one_instance_waits_as_pollaczek_and_khinchine_say(variability: float) -> None:
    outcome = simulate(
        alone(variability=variability), ROOMY, Load(rate_per_s=60), requests=40_000, warm_up=1_000
    )
    wanted = mg1_waiting(0.06, SERVICE_MS, variability)
    assert outcome.mean_ms - SERVICE_MS == pytest.approx(wanted, rel=0.08)


def test_several_instances_with_constant_times_wait_about_as_allen_and_cunneen_say() -> None:
    outcome = simulate(alone(instances=2), ROOMY, Load(rate_per_s=150), requests=40_000)
    # An approximation: within a tenth of an exact M/D/2 at this load.
    wanted = ggc_waiting(2, 0.15, SERVICE_MS, 1.0, 0.0)
    assert outcome.mean_ms - SERVICE_MS == pytest.approx(wanted, rel=0.15)


@pytest.mark.parametrize("variability", [0.0, 1.0])
def test_a_shared_core_slows_all_alike_whatever_the_spread(variability: float) -> None:
    outcome = simulate(
        alone(instances=None, variability=variability),
        Site(cores=1.0),
        Load(rate_per_s=60),
        requests=40_000,
    )
    assert outcome.mean_ms == pytest.approx(shared_sojourn(0.06, SERVICE_MS), rel=0.08)
    assert outcome.busy[Pool.CPU] == pytest.approx(0.6, rel=0.05)


def test_the_formulas_agree_where_they_meet() -> None:
    assert erlang_c(1, 0.7) == pytest.approx(0.7)
    # Kleinrock's table for two servers: C(2, 1) = 1/3.
    assert erlang_c(2, 1.0) == pytest.approx(1 / 3)
    assert mmc_waiting(1, 0.07, 10.0) == pytest.approx(mg1_waiting(0.07, 10.0, 1.0))
    assert ggc_waiting(1, 0.07, 10.0, 1.0, 0.3) == pytest.approx(mg1_waiting(0.07, 10.0, 0.3))


@pytest.mark.parametrize("load", [Load(rate_per_s=30), Load(users=5), Load(users=5, think_ms=50)])
def test_as_many_are_present_as_come_in_the_time_that_they_stay(load: Load) -> None:
    outcome = simulate(FORKED, Site(cores=2), load, requests=8_000)
    assert outcome.present == pytest.approx(outcome.per_s * outcome.mean_ms / 1e3, rel=0.02)


def test_a_lone_request_takes_its_longest_way() -> None:
    outcome = simulate(FORKED, Site(cores=2), Load(users=1), requests=20, warm_up=1)
    assert outcome.mean_ms == pytest.approx(FORKED.unloaded_ms()) == pytest.approx(32.0)
    # Both branches on one core: 36 ms of work take 36 ms, and the two cores of the end twice 5;
    # of the wait for company only what the other branch does not fill.
    narrow = simulate(FORKED, Site(cores=1), Load(users=1), requests=20, warm_up=1)
    assert narrow.mean_ms == pytest.approx(2 + 36 + 2 * 5)


@pytest.mark.parametrize("users", [1, 4, 16])
def test_no_users_get_more_than_the_bounds_of_a_closed_network(users: int) -> None:
    outcome = simulate(FORKED, Site(cores=2), Load(users=users), requests=2_000)
    largest = 1e3 / bounds(FORKED, Site(cores=2))[0].per_s
    most = asymptotic_throughput(users, FORKED.unloaded_ms() - 1.0, largest) * 1e3
    assert outcome.per_s <= most * 1.001
    if users == 16:
        assert outcome.per_s >= 0.8 * most
        assert outcome.batches["left"] > 3


def test_more_servers_never_answer_later() -> None:
    load = Load(rate_per_s=60)
    times = [
        simulate(FORKED, Site(count, count, 2.0), load, requests=4_000).p95_ms
        for count in (2, 3, 4, 6)
    ]
    assert times == sorted(times, reverse=True)


def test_where_keeping_saves_nothing_those_who_stick_wait_longer() -> None:
    site = Site(4, 4, cores=2)
    load = Load(rate_per_s=290, hit_rate=0.8, think_ms=200)
    sticky, any_ = (
        simulate(alone(), site, replace(load, stickiness=each), requests=10_000)
        for each in (Stickiness.STICKY, Stickiness.ANY)
    )
    assert sticky.mean_ms > any_.mean_ms
    assert sticky.p95_ms > any_.p95_ms


@pytest.mark.parametrize("servers", [1, 2, 4])
def test_who_does_not_stick_finds_as_little_kept_as_the_formula_says(servers: int) -> None:
    outcome = simulate(
        alone(),
        Site(servers, servers),
        Load(
            rate_per_s=20,
            hit_rate=0.6,
            stickiness=Stickiness.ANY,
            placement=Placement.RANDOM,
        ),
        requests=20_000,
    )
    assert outcome.hit_rate == pytest.approx(spread_hit_rate(0.6, servers), abs=0.015)


def test_the_rate_of_hits_is_that_of_one_server_with_one_and_none_with_very_many() -> None:
    assert spread_hit_rate(0.6, 1) == pytest.approx(0.6)
    assert spread_hit_rate(0.6, 2) == pytest.approx(0.6 / (0.6 + 2 * 0.4))
    assert spread_hit_rate(0.6, 10**9) == pytest.approx(0.0, abs=1e-6)


def test_a_kept_image_saves_what_its_stages_say() -> None:
    again = replace(FORKED.stage("right"), kept_share=0.0)
    flow = Flow(
        (Stage("read", 2.0), replace(again, after=("read",)), Stage("end", 1.0, after=("right",)))
    )
    load = Load(users=1, hit_rate=0.5)
    outcome = simulate(flow, Site(), load, requests=8_000)
    assert flow.unloaded_ms(kept=True) == pytest.approx(3.0)
    assert outcome.mean_ms == pytest.approx(3.0 + 12.0 * (1 - outcome.hit_rate), rel=1e-6)
    assert outcome.hit_rate == pytest.approx(0.5, abs=0.03)


def test_two_users_who_take_two_servers_in_turn_stop_meeting() -> None:
    site = Site(2, machines=1, cores=2)
    in_turn, at_random = (
        simulate(alone(), site, Load(users=2, placement=each), requests=400).per_s
        for each in (Placement.IN_TURN, Placement.RANDOM)
    )
    # They meet once, at the first; then each finds the server that the other has just left.
    assert in_turn == pytest.approx(2e3 / SERVICE_MS)
    assert at_random < 0.9 * in_turn


def test_the_same_arguments_give_the_same_outcome() -> None:
    load = Load(rate_per_s=30, hit_rate=0.3)
    one, other = (simulate(FORKED, Site(), load, requests=500) for _ in range(2))
    assert one == other
    assert one != simulate(FORKED, Site(), load, requests=500, seed=1)


def test_flows_that_nobody_could_walk_are_refused() -> None:
    with pytest.raises(ModelError, match="waits for"):
        Flow((Stage("a", 1.0, after=("b",)), Stage("b", 1.0)))
    with pytest.raises(ModelError, match="waited for"):
        Flow((Stage("a", 1.0), Stage("b", 1.0)))
    with pytest.raises(ModelError, match="pool"):
        simulate(alone(pool=Pool.GPU), Site(), Load(users=1))
    with pytest.raises(ModelError, match="users or a rate"):
        Load()
