"""The ceiling: the release's own graphs in a Python loop, without a server.

A process that loads the stages once and then obeys messages, a line of JSON each: answer
questions in `at_once` threads as fast as they can, or one after the other with each stage timed.
Its questions are made before the clock starts, as the load generator's are.
"""

from __future__ import annotations

import itertools
import json
import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from benchmarks.load.plan import LoadPlan
from benchmarks.load.questions import QuestionSource
from benchmarks.peers.graph_flow import GraphFlow, Times, path_times
from benchmarks.peers.readiness import tell_ready
from benchmarks.peers.settings import PeerOrder
from benchmarks.workload import Question
from organseg.contract import models_of

_SPARE = 1.5
"""How many more questions are made than are likely to be answered."""


def serve(order: PeerOrder) -> None:
    """Loads, then obeys until its input ends."""
    # What a library prints must not get between the answers.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    flow = GraphFlow(order.release, order.settings.threads)
    tell_ready()
    for line in sys.stdin:
        message = json.loads(line)
        plan = LoadPlan.from_json(message["plan"])
        if message["timed"]:
            answer = _timed(flow, plan)
        else:
            answer = _loop(flow, plan, order.settings.at_once)
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def _timed(flow: GraphFlow, plan: LoadPlan) -> Mapping[str, Any]:
    """Each stage's time, one request after the other."""
    stream = _stream(plan)
    for question in itertools.islice(stream, max(1, plan.warm_up)):
        flow.timed(question.image, question.text.encode())
    times: list[Times] = []
    seconds: list[float] = []
    cpu = 0.0
    began = time.perf_counter()
    while not _is_over(plan, len(times), began):
        question = next(stream)
        cpu -= time.process_time()
        started = time.perf_counter()
        times.append(flow.timed(question.image, question.text.encode())[1])
        seconds.append(time.perf_counter() - started)
        cpu += time.process_time()
    found = path_times(times, models_of(flow.preset), cpu / len(times))
    return {**asdict(found), "seconds": seconds}


def _loop(flow: GraphFlow, plan: LoadPlan, at_once: int) -> Mapping[str, Any]:
    """Answers in threads; gives each answer's seconds, and what all took."""
    stream = _stream(plan)
    warm_up = list(itertools.islice(stream, at_once * max(1, plan.warm_up)))
    started = time.perf_counter()
    _answer_all(flow, warm_up, at_once, lambda _: False)
    each = (time.perf_counter() - started) / len(warm_up)
    count = plan.requests or max(at_once, int(_SPARE * (plan.seconds or 0.0) / each))
    questions = list(itertools.islice(stream, count))
    began, cpu = time.perf_counter(), time.process_time()
    seconds = _answer_all(
        flow, questions, at_once, lambda answered: _is_over(plan, answered, began)
    )
    return {
        "seconds": seconds,
        "elapsed_s": time.perf_counter() - began,
        "cpu_s": time.process_time() - cpu,
    }


def _answer_all(
    flow: GraphFlow,
    questions: Sequence[Question],
    at_once: int,
    is_over: Callable[[int], bool],
) -> list[float]:
    """Seconds of each answer; stops taking questions once it is over. Raises what a thread did."""
    waiting: queue.SimpleQueue[Question] = queue.SimpleQueue()
    for question in questions:
        waiting.put(question)
    seconds: list[float] = []
    failures: list[Exception] = []

    def work() -> None:
        try:
            while not failures and not is_over(len(seconds)):
                question = waiting.get_nowait()
                started = time.perf_counter()
                flow.answer(flow.prepare(question.image, question.text.encode()))
                seconds.append(time.perf_counter() - started)
        except queue.Empty:
            return
        except Exception as failure:
            failures.append(failure)

    threads = [threading.Thread(target=work) for _ in range(at_once)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return seconds


def _stream(plan: LoadPlan) -> Iterator[Question]:
    stream = QuestionSource(plan.workload, plan.mix).stream(0)
    return (each.question for each in stream)


def _is_over(plan: LoadPlan, answered: int, began: float) -> bool:
    if plan.requests is not None:
        return answered >= plan.requests
    return answered > 0 and time.perf_counter() - began >= (plan.seconds or 0.0)
