"""Closed results of queueing theory: what the simulation is tested against, and hit rates.

Notation of L. Kleinrock, "Queueing Systems", volumes 1 (1975) and 2 (1976): arrivals per second
λ, mean service time S, load ρ = λ S / c. All arguments share one unit of time.
"""

from __future__ import annotations


def erlang_c(servers: int, offered: float) -> float:
    """The probability that a request waits in M/M/c, with `offered` = λ S below `servers`.

    A. K. Erlang (1917); Kleinrock 1, section 3.4.
    """
    blocked = 1.0
    for count in range(1, servers + 1):
        blocked = offered * blocked / (count + offered * blocked)
    return blocked / (1.0 - offered / servers * (1.0 - blocked))


def mmc_waiting(servers: int, rate: float, service: float) -> float:
    """Mean time in the queue of M/M/c."""
    offered = rate * service
    return erlang_c(servers, offered) * service / (servers - offered)


def mg1_waiting(rate: float, service: float, variability: float) -> float:
    """Mean time in the queue of M/G/1: the formula of Pollaczek and Khinchine.

    `variability` is the squared coefficient of variation of the service time. Kleinrock 1, 5.6.
    """
    load = rate * service
    return load * service * (1.0 + variability) / (2.0 * (1.0 - load))


def ggc_waiting(
    servers: int, rate: float, service: float, arrivals: float, variability: float
) -> float:
    """Mean time in the queue of G/G/c, the approximation of Allen and Cunneen.

    `arrivals` and `variability` are squared coefficients of variation. Exact for M/M/c and M/G/1.
    A. O. Allen, "Probability, Statistics, and Queueing Theory", 2nd edition (1990), section 5.
    """
    return mmc_waiting(servers, rate, service) * (arrivals + variability) / 2.0


def shared_sojourn(rate: float, service: float) -> float:
    """Mean time in M/G/1 with processor sharing, whatever the distribution of service times.

    Kleinrock 2, section 4.4.
    """
    return service / (1.0 - rate * service)


def spread_hit_rate(hit_rate: float, servers: int) -> float:
    """Hits that are left where each question of a session goes to a random server of several.

    `hit_rate` h is that of one server that keeps everything: 1 - h of the questions open an image,
    and a session goes on after each question with probability h. A question is a miss where its
    session has not been at the server before. Of q questions thrown on R servers R (1 - (1 -
    1/R)^q) are expected to be the first on theirs (occupancy: W. Feller, "An Introduction to
    Probability Theory", volume 1, IV.2); over the geometric q that makes 1 / (1 - h + h / R).
    """
    return 1.0 - (1.0 - hit_rate) / (1.0 - hit_rate + hit_rate / servers)


def asymptotic_throughput(users: int, total: float, largest: float) -> float:
    """The most that a closed network can do: min(users / all service, 1 / the largest share).

    `total` is a request's time alone, `largest` what the busiest resource spends for it divided by
    its number. Denning and Buzen (1978).
    """
    return min(users / total, 1.0 / largest)
