"""The peers answer as the torch reference does, and refuse what cannot be used."""

from __future__ import annotations

import copy
import http.client
import json
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.load.http_target import PATH, decode, form
from benchmarks.load.plan import LoadPlan
from benchmarks.load.window import Mix
from benchmarks.peers.contenders import InProcessLoop
from benchmarks.peers.process import PeerProcess, pause, resume
from benchmarks.peers.settings import Peer, PeerOrder, PeerSettings
from benchmarks.peers.torch_flow import TorchFlow
from benchmarks.peers.weights import load_reference
from benchmarks.served_cost import processor_seconds
from benchmarks.workload import Question
from constructed import BLANK_PICTURE, PICTURES, QUESTIONS, constructed_checkpoint
from organseg.contract import TINY, CpuEngine
from organseg.errors import ReleaseError, ServerStartError
from organseg.imaging.postprocess import Answer
from organseg.networks.build import build_checkpoint
from organseg.networks.checkpoint import save_checkpoint
from organseg.serving.engine_choice import ENGINE_VARIABLE

LARGEST_SHARE = 1e-3
"""Of a mask's pixels may differ between peers: sums in another order move an edge here and there
(seen: 1e-4)."""
BOUNDARY = "a-boundary"
DEADLINE_S = 60.0

SETTINGS = {
    Peer.FASTAPI_TORCH: PeerSettings(threads=1, at_once=2),
    Peer.LITSERVE_TORCH: PeerSettings(threads=1, batch=4, batch_timeout_s=0.2),
    Peer.FASTAPI_GRAPHS: PeerSettings(threads=1, at_once=2),
}


@pytest.fixture(scope="module", autouse=True)
def in_float32() -> Iterator[None]:
    """As the session's server: what bfloat16 moves is held by test_cpu_engines_agree.py."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(ENGINE_VARIABLE, CpuEngine.ONNXRUNTIME.value)
        yield


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The weights of `release`."""
    folder = tmp_path_factory.mktemp("peers") / "checkpoint"
    save_checkpoint(copy.deepcopy(constructed_checkpoint()), folder)
    return folder


@pytest.fixture(scope="module")
def questions() -> list[Question]:
    """Pictures whose answers are known by construction and a blank one, each question once."""
    images = [*PICTURES, *PICTURES[:2], BLANK_PICTURE]
    return [Question(image, text) for image, text in zip(images, QUESTIONS, strict=True)]


@pytest.fixture(scope="module")
def wanted(release: Path, checkpoint: Path, questions: list[Question]) -> list[Answer]:
    """What the torch reference answers."""
    flow = TorchFlow(load_reference(release, checkpoint))
    return [flow.answer(flow.prepare(each.image, each.text.encode())) for each in questions]


@pytest.fixture(scope="module", params=list(SETTINGS), ids=lambda peer: peer.value)
def server(
    request: pytest.FixtureRequest, release: Path, checkpoint: Path
) -> Iterator[PeerProcess]:
    """One peer after the other, each started once."""
    peer: Peer = request.param
    with PeerProcess(PeerOrder(peer, release, checkpoint, SETTINGS[peer])) as started:
        yield started


def post(server: PeerProcess, body: bytes) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(server.address, timeout=DEADLINE_S)
    try:
        content_type = f"multipart/form-data; boundary={BOUNDARY}"
        connection.request("POST", PATH, body, {"Content-Type": content_type})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def ask(server: PeerProcess, question: Question) -> tuple[int, bytes]:
    return post(server, form(question, BOUNDARY))


def require_same(body: bytes, wanted: Answer) -> None:
    document, masks = decode(body)
    assert document["verdicts"] == [verdict.value for verdict in wanted.verdicts]
    assert document["organs"] == wanted.organs.tolist()
    np.testing.assert_allclose(document["boxes"], wanted.boxes, atol=0.5)
    np.testing.assert_allclose(document["quality"], wanted.quality, atol=0.01)
    for mask, reference in zip(masks, wanted.masks, strict=True):
        assert mask.shape == reference.shape
        assert np.mean(mask != reference) <= LARGEST_SHARE


def test_every_peer_answers_many_at_once_as_the_reference_answers_each(
    server: PeerProcess, questions: list[Question], wanted: list[Answer]
) -> None:
    assert any(answer.masks.any() for answer in wanted)
    # Among them one that cannot be used: where they are joined it must fail alone.
    asked = [*questions[:2], Question(b"no image", "liver"), *questions[2:]]
    with ThreadPoolExecutor(len(asked)) as threads:
        replies = list(threads.map(lambda question: ask(server, question), asked))
    refused = replies.pop(2)
    assert refused[0] == 400
    assert b"ImageError" in refused[1]
    for (status, body), answer in zip(replies, wanted, strict=True):
        assert status == 200
        require_same(body, answer)


def test_every_peer_says_what_is_wrong_with_a_request(
    server: PeerProcess, questions: list[Question]
) -> None:
    image = questions[0].image
    for question, word in ((Question(image, " "), b"question"), (Question(b"", "liver"), b"image")):
        status, body = ask(server, question)
        assert 400 <= status < 500
        assert word in body.lower()
    status, body = post(server, f"--{BOUNDARY}--\r\n".encode())
    assert 400 <= status < 500
    assert json.loads(body)["detail"]


def test_a_paused_peer_stands_still_and_answers_once_it_goes_on(
    server: PeerProcess, questions: list[Question], wanted: list[Answer]
) -> None:
    pause(server.session)
    try:
        deadline = time.monotonic() + DEADLINE_S
        while states(server.session) != {"T"}:
            assert time.monotonic() < deadline
    finally:
        resume(server.session)
    status, body = ask(server, questions[0])
    assert status == 200
    require_same(body, wanted[0])


def states(session: int) -> set[str]:
    """The states of all processes of a session, as Linux writes them: T for stopped."""
    numbers = [key.split()[0] for key in processor_seconds(session)]
    texts = [Path("/proc", number, "stat").read_text() for number in numbers]
    return {text.rpartition(")")[2].split()[0] for text in texts}


@pytest.fixture(scope="module")
def loop(release: Path) -> Iterator[InProcessLoop]:
    """The graphs without a server."""
    order = PeerOrder(Peer.IN_PROCESS, release, None, PeerSettings(threads=1, at_once=2))
    with PeerProcess(order) as started:
        yield InProcessLoop(started)


def test_the_loop_gives_a_window_of_as_many_answers_as_were_wanted(loop: InProcessLoop) -> None:
    told: list[int] = []
    window = loop.window(LoadPlan(Mix.DISTINCT, requests=4, warm_up=1), told.append)
    # The two threads may both have taken their last question.
    assert 4 <= window.answered <= 5
    assert told == [window.answered]
    assert window.server_cpu_s_per_answer
    assert window.server_memory_mib
    assert window.latency is not None
    assert window.users == 2


def test_the_loop_times_every_stage_and_takes_the_longer_branch(loop: InProcessLoop) -> None:
    found: Mapping[str, Any] = loop.path(LoadPlan(Mix.DISTINCT, requests=2, warm_up=1))
    times = found["stages_ms"]
    branches = [["image_encoder"], ["llava_med", "extractors", "gate"]]
    longer = max(branches, key=lambda names: sum(times[name] for name in names))
    assert found["path"] == ["preprocess", *longer, "mask_decoder", "postprocess"]
    assert set(times) == {"preprocess", *branches[0], *branches[1], "mask_decoder", "postprocess"}
    assert len(found["seconds"]) == 2


def test_other_weights_than_the_releases_are_refused(release: Path, tmp_path: Path) -> None:
    save_checkpoint(build_checkpoint(TINY, seed=1), tmp_path)
    with pytest.raises(ReleaseError, match="--checkpoint"):
        load_reference(release, tmp_path)


def test_a_peer_that_does_not_start_says_why(tmp_path: Path) -> None:
    order = PeerOrder(Peer.FASTAPI_GRAPHS, tmp_path / "none", None, PeerSettings())
    with pytest.raises(ServerStartError, match="no folder 'none'"), PeerProcess(order):
        pass
