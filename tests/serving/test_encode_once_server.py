"""Nothing is computed twice for one image, on the real Triton server: counted, bounded, sound."""

from __future__ import annotations

import os
import re
import shutil
import signal
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import numpy as np
import pytest
from tritonclient.grpc import InferenceServerClient, InferInput
from tritonclient.utils import InferenceServerException

from constructed import PICTURES, QUESTIONS
from organseg.contract import FEATURES_NAME, TINY, model_of, names
from organseg.contract.cores import CORES_PARAMETER
from organseg.contract.keeping import KEPT_BYTES_PARAMETER
from organseg.contract.pbtxt import config_text, parse_config
from organseg.errors import ImageError, ServerFaultError
from organseg.imaging.encoding import encode_sample
from organseg.serving.embedded import EmbeddedServer, EnsembleProbe, ServerOptions
from organseg_client import OrganSegClient

pytestmark = pytest.mark.server

QUESTION = next(iter(QUESTIONS))
EMBEDDING_BYTES = 2 * int(np.prod(model_of(TINY, "image_encoder").outputs[0].shape()))
ROOM = 2
"""Images that the bounded server has room for."""
CORE = max(os.sched_getaffinity(0))
"""The core that its `image_features` keeps to."""


@pytest.fixture(scope="module")
def bounded(release: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    """A server that keeps the embeddings of two images alone, by a stage on one core, and whose
    branches join requests, as they do on a GPU."""
    models = tmp_path_factory.mktemp("bounded") / "models"
    shutil.copytree(release / "models", models)
    path = models / "image_features" / "config.pbtxt"
    config = parse_config(path.read_text())
    config.parameters[KEPT_BYTES_PARAMETER].string_value = str(ROOM * EMBEDDING_BYTES)
    config.parameters[CORES_PARAMETER].string_value = str(CORE)
    path.write_text(config_text(config))
    for stage in ("image_encoder", "llava_med"):
        path = models / stage / "config.pbtxt"
        config = parse_config(path.read_text())
        del config.dynamic_batching.preferred_batch_size[:]
        path.write_text(config_text(config))
    # It will not end by itself behind the last test, which kills one of its parts.
    options = ServerOptions(grpc_port=0, http_port=0, metrics_port=0, stop_timeout_s=5)
    with EmbeddedServer(models, options, probe=EnsembleProbe()) as started:
        yield started


@pytest.fixture(scope="module")
def client(bounded: EmbeddedServer) -> Iterator[OrganSegClient]:
    with OrganSegClient(bounded.grpc_address, deadline_s=120) as client:
        yield client


def kept(server: EmbeddedServer, name: str, stage: str = "image_features") -> int:
    with urllib.request.urlopen(server.metrics_url, timeout=30) as page:
        text = page.read().decode()
    found = re.search(rf'^organ_seg_kept_{name}{{stage="{stage}"}} (\d+)', text, re.MULTILINE)
    assert found, f"no organ_seg_kept_{name} of {stage}"
    return int(found[1])


def settled(server: EmbeddedServer, name: str, stage: str = "image_features") -> int:
    """What is published once it stands still: a stage does so behind its answers."""
    pause, now = Event(), kept(server, name, stage)
    while True:
        pause.wait(0.2)
        then, now = now, kept(server, name, stage)
        if now == then:
            return now


def executions(server: EmbeddedServer) -> int:
    with InferenceServerClient(server.grpc_address) as triton:
        (found,) = triton.get_inference_statistics("image_encoder", as_json=True)["model_stats"]
    return int(found["execution_count"])


@pytest.mark.parametrize("stage", ["image_features", "llava_med"])
def test_a_second_question_about_an_image_is_a_hit(bounded, client, stage):
    before = {name: settled(bounded, name, stage) for name in ("hits", "misses")}
    image = encode_sample()
    for question in list(QUESTIONS)[:3]:
        client.segment(image, question)
    assert settled(bounded, "misses", stage) == before["misses"] + 1
    assert settled(bounded, "hits", stage) == before["hits"] + 2


def test_an_image_that_eight_ask_about_at_once_is_encoded_once(bounded, client):
    before, image = executions(bounded), encode_sample()
    with ThreadPoolExecutor(8) as threads:
        results = list(threads.map(lambda _: client.segment(image, QUESTION), range(8)))
    assert executions(bounded) == before + 1
    for result in results[1:]:
        np.testing.assert_array_equal(result.masks, results[0].masks)


def test_what_is_kept_stays_within_its_bound_and_the_oldest_is_computed_again(bounded, client):
    images = [encode_sample() for _ in range(ROOM + 1)]
    for image in images:
        client.segment(image, QUESTION)
    assert settled(bounded, "bytes") == ROOM * EMBEDDING_BYTES
    evictions, misses = settled(bounded, "evictions"), settled(bounded, "misses")
    client.segment(images[0], QUESTION)
    assert settled(bounded, "misses") == misses + 1
    assert settled(bounded, "evictions") == evictions + 1


def test_a_bad_image_fails_alone_beside_good_ones(client):
    requests = [PICTURES[0], b"no image", PICTURES[0], PICTURES[1]]

    def ask(image: bytes) -> object:
        try:
            return client.segment(image, QUESTION)
        except ImageError as error:
            return error

    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(ask, requests))
    assert [isinstance(each, ImageError) for each in found] == [False, True, False, False]


def test_the_model_config_says_how_much_is_kept(bounded):
    with InferenceServerClient(bounded.grpc_address) as triton:
        found = triton.get_model_config("llava_med", as_json=True)["config"]["parameters"]
    assert int(found[KEPT_BYTES_PARAMETER]["string_value"]) >= 256 << 20


def process_of(stage: str, server: EmbeddedServer) -> int:
    """The process of a stage."""
    models = server._model_repository
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                command = (folder / "cmdline").read_bytes().decode(errors="replace")
            except OSError:
                continue
            if f"{models}/{stage}/1/model.py" in command:
                return int(folder.name)
    raise AssertionError(f"no process of {stage}")


def counts(server: EmbeddedServer, stage: str) -> tuple[int, int]:
    """How many requests a stage has answered, and in how many executions."""
    with InferenceServerClient(server.grpc_address) as triton:
        told = triton.get_inference_statistics(stage, as_json=True)["model_stats"][0]
    return int(told.get("inference_count", 0)), int(told.get("execution_count", 0))


def test_questions_of_different_lengths_about_known_and_new_images_are_joined(bounded, client):
    questions = list(QUESTIONS)[1:3]
    assert len({len(question.split()) for question in questions}) > 1
    cases = [(picture, question) for question in questions for picture in PICTURES[:2]]
    alone = [client.segment(*case) for case in cases]
    # Which requests meet in a batch is the scheduler's affair, so ask until some have.
    for _ in range(40):
        answered, executed = counts(bounded, "llava_med")
        asked = [*cases, (encode_sample(), QUESTION)]
        with ThreadPoolExecutor(len(asked)) as pool:
            results = list(pool.map(lambda case: client.segment(*case), asked))
        for got, wanted in zip(results, alone, strict=False):
            assert [organ.verdict for organ in got.organs] == [
                organ.verdict for organ in wanted.organs
            ]
            assert (got.masks != wanted.masks).mean() <= 1e-3
        now_answered, now_executed = counts(bounded, "llava_med")
        assert now_answered - answered == len(asked)
        if now_executed - executed < len(asked):
            return
    pytest.fail("never joined two of five concurrent requests")


def test_four_new_pictures_at_once_are_joined_by_the_image_encoder(bounded, client):
    # `image_features` asks for each of them by itself.
    for _ in range(40):
        answered, executed = counts(bounded, "image_encoder")
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _: client.segment(encode_sample(), "spleen"), range(4)))
        now_answered, now_executed = counts(bounded, "image_encoder")
        assert now_answered - answered == 4
        if now_executed - executed < 4:
            return
    pytest.fail("never joined two of four new pictures")


def test_who_is_turned_away_from_the_encoders_queue_reads_that_the_server_is_busy(bounded):
    shape = (1, *model_of(TINY, "image_encoder").inputs[0].shape())

    def ask(_: int) -> bytes:
        chance = np.random.default_rng()
        key = chance.integers(0, 256, (1, 32), dtype=np.uint8)
        pixels = chance.integers(0, 256, shape, dtype=np.uint8)
        inputs = []
        for name, array in ((names.IMAGE_KEY, key), (names.SAM_PIXELS, pixels)):
            inputs.append(InferInput(name, array.shape, "UINT8"))
            inputs[-1].set_data_from_numpy(array)
        try:
            answer = triton.infer(FEATURES_NAME, inputs, timeout=100_000)
        except InferenceServerException as error:
            # From the stage's own queue.
            return str(error.status()).rpartition(".")[2].encode()
        return bytes(answer.as_numpy(names.FEATURES_FAILURE).item())

    with InferenceServerClient(bounded.grpc_address) as triton, ThreadPoolExecutor(24) as threads:
        # On a busy machine the stage's own queue may turn all of a round away.
        for _ in range(10):
            told = set(threads.map(ask, range(24))) - {b""}
            assert {each.split()[0] for each in told} == {b"UNAVAILABLE"}
            if any(b"queue, the request's timeout expired" in each for each in told):
                return
    pytest.fail("nobody was turned away from the encoder's own queue")


def test_the_stage_that_asks_the_encoder_keeps_to_its_cores_too(bounded):
    tasks = Path(f"/proc/{process_of('image_features', bounded)}/task").iterdir()
    assert {frozenset(os.sched_getaffinity(int(task.name))) for task in tasks} == {
        frozenset({CORE})
    }


def test_a_dead_encoder_is_an_error_that_is_not_kept_and_the_probe_finds_it(bounded, client):
    # Last: this server does not come back.
    known = encode_sample()
    client.segment(known, QUESTION)
    os.kill(process_of("image_encoder", bounded), signal.SIGKILL)
    stranger = encode_sample()
    for _ in range(2):
        with pytest.raises(ServerFaultError):
            client.segment(stranger, QUESTION)
    assert client.segment(known, QUESTION).organs
    with pytest.raises(ServerFaultError):
        EnsembleProbe()(bounded.grpc_address)
