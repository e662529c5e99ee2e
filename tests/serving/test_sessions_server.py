"""Sessions on the real server: the same answers, and every way in which one is lost."""

from __future__ import annotations

import io
import json
import re
import urllib.request
from collections.abc import Iterator, Mapping
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
from tritonclient.utils import InferenceServerException

from constructed import BLANK_PICTURE, PICTURES, QUESTIONS, png
from organseg.contract import (
    ASK_NAME,
    CONTRACT_PARAMETER,
    ENCODE_NAME,
    ENSEMBLE_NAME,
    FEATURES_NAME,
    SESSIONS_NAME,
    TINY,
    ensemble_tensors,
    model_of,
    names,
)
from organseg.contract.keeping import KEPT_BYTES_PARAMETER, LIFETIME_PARAMETER
from organseg.serving.bounds import HANDLES_VARIABLE
from organseg.serving.embedded import EmbeddedServer, EnsembleProbe, LogLevel, ServerOptions
from organseg.serving.embedded.invocation import ADMIN_HEADER
from organseg.serving.manifest import MODELS_FOLDER

pytestmark = pytest.mark.server

Answer = dict[str, "np.ndarray"]

KEY = "sesame"
ADMIN = {f"triton-grpc-protocol-{ADMIN_HEADER}": KEY}
HANDLES = 12
"""How many sessions the server knows at once."""
EMBEDDINGS = 5
"""How many images `image_features` keeps; `llava_med` has room for all of these tests."""
DEADLINE_S = 60
QUESTION = "Outline the liver, please."
PIXELS_THAT_MAY_DIFFER = 0.001
"""Of a mask, where questions are computed behind a kept prefix."""


@pytest.fixture(scope="module")
def log_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("log") / "server.log"


@pytest.fixture(scope="module")
def server(release: Path, log_file: Path) -> Iterator[EmbeddedServer]:
    embedding = model_of(TINY, "image_encoder").tensor(names.IMAGE_EMBEDDINGS)
    kept = EMBEDDINGS * prod(embedding.shape()) * embedding.dtype.numpy.itemsize
    options = ServerOptions(
        grpc_port=0,
        http_port=0,
        metrics_port=0,
        log_level=LogLevel.VERBOSE,
        log_file=log_file,
        admin_key=KEY,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(HANDLES_VARIABLE, str(HANDLES))
        started = EmbeddedServer(release / MODELS_FOLDER, options, probe=EnsembleProbe())
        with started:
            with tritonclient.grpc.InferenceServerClient(started.grpc_address) as triton:
                reload(triton, FEATURES_NAME, {KEPT_BYTES_PARAMETER: str(kept)})
            yield started


@pytest.fixture(scope="module")
def triton(server: EmbeddedServer) -> Iterator[tritonclient.grpc.InferenceServerClient]:
    with tritonclient.grpc.InferenceServerClient(server.grpc_address) as triton:
        yield triton


def reload(triton: Any, model: str, parameters: Mapping[str, str] | None = None) -> None:
    """Ends a stage's process and starts another, with parameters of its config changed."""
    config = triton.get_model_config(model, as_json=True)["config"]
    for name, value in (parameters or {}).items():
        config["parameters"][name] = {"string_value": value}
    triton.unload_model(model, headers=ADMIN)
    triton.load_model(model, headers=ADMIN, config=json.dumps(config))


def infer(
    server: Any, protocol: Any, model: str, inputs: Mapping[str, Any], outputs: tuple[str, ...] = ()
) -> Any:
    made = []
    for name, value in inputs.items():
        array = value if isinstance(value, np.ndarray) else np.array([[value]], dtype=object)
        kind = {np.dtype(object): "BYTES", np.dtype(np.float32): "FP32"}[array.dtype]
        tensor = protocol.InferInput(name, list(array.shape), kind)
        tensor.set_data_from_numpy(array)
        made.append(tensor)
    wanted = [protocol.InferRequestedOutput(name) for name in outputs] or None
    limit = {"client_timeout": DEADLINE_S} if protocol is tritonclient.grpc else {}
    return server.infer(model, made, outputs=wanted, **limit)


def whole(triton: Any, image: bytes, question: str, **window: np.ndarray) -> Answer:
    asked = {"IMAGE": image, "QUERY": question.encode(), **window}
    return read(infer(triton, tritonclient.grpc, ENSEMBLE_NAME, asked))


def open_session(triton: Any, image: bytes, **window: np.ndarray) -> bytes:
    opened = infer(triton, tritonclient.grpc, ENCODE_NAME, {"IMAGE": image, **window})
    return bytes(opened.as_numpy("HANDLE").item())


def ask(triton: Any, handle: bytes, question: str = QUESTION) -> Answer:
    asked = {"HANDLE": handle, "QUERY": question.encode()}
    return read(infer(triton, tritonclient.grpc, ASK_NAME, asked))


def read(response: Any) -> Answer:
    _, received = ensemble_tensors(TINY)
    return {tensor.name: response.as_numpy(tensor.name)[0] for tensor in received}


def assert_same(got: Answer, wanted: Answer) -> None:
    for name in ("ORGANS", "VERDICTS"):
        assert got[name].tolist() == wanted[name].tolist()
    for mine, other in zip(got["MASKS"], wanted["MASKS"], strict=True):
        assert (mine != other).mean() <= PIXELS_THAT_MAY_DIFFER


def assert_lost(triton: Any, handle: bytes) -> None:
    with pytest.raises(InferenceServerException) as lost:
        ask(triton, handle)
    assert lost.value.status() == "StatusCode.NOT_FOUND"
    said = lost.value.message()
    assert said.startswith(f"in ensemble '{ASK_NAME}', SessionLostError: wanted the image of a ")
    assert said.endswith("send the image again")
    assert handle.decode() not in said


def other_pictures(count: int, seed: int) -> list[bytes]:
    """Pictures that no other test knows."""
    generator = np.random.default_rng(seed)
    return [png(generator.integers(0, 256, (40, 48), dtype=np.uint8)) for _ in range(count)]


@pytest.mark.parametrize("picture", range(len(PICTURES)))
def test_a_session_answers_as_the_whole_flow_does(triton, picture):
    handle = open_session(triton, PICTURES[picture])
    for question in QUESTIONS:
        assert_same(ask(triton, handle, question), whole(triton, PICTURES[picture], question))


def test_a_blank_picture_is_absent_in_a_session_too(triton):
    answer = ask(triton, open_session(triton, BLANK_PICTURE))
    assert answer["VERDICTS"].tolist() == [b"absent_in_image"]
    assert answer["MASKS"].shape == (1, 120, 140)


def test_the_window_of_the_opening_is_that_of_every_question(triton):
    rows, columns = np.indices((60, 80), dtype=np.float32)
    buffer = io.BytesIO()
    np.save(buffer, (rows * columns) % 400 - 160)
    image = buffer.getvalue()
    window = {"WINDOW": np.array([[-100, 0]], dtype=np.float32)}
    wanted, unlike = whole(triton, image, QUESTION, **window), whole(triton, image, QUESTION)
    assert any((wanted[name] != unlike[name]).any() for name in ("MASKS", "BOXES", "SIMILARITY"))
    got = ask(triton, open_session(triton, image, **window))
    assert_same(got, wanted)
    np.testing.assert_allclose(got["PRESENCE"], wanted["PRESENCE"], atol=2e-2)


def test_a_follow_up_computes_nothing_of_the_image_again(triton):
    handle = open_session(triton, PICTURES[0])
    before = executions(triton, "image_encoder"), executions(triton, "preprocess")
    for question in QUESTIONS:
        ask(triton, handle, question)
    assert (executions(triton, "image_encoder"), executions(triton, "preprocess")) == before


def executions(triton: Any, model: str) -> int:
    statistics = triton.get_inference_statistics(model, as_json=True)["model_stats"][0]
    return int(statistics.get("execution_count", 0))


def test_an_image_that_only_the_encoders_stage_has_forgotten_is_lost(triton):
    handle = open_session(triton, PICTURES[0])
    for picture in other_pictures(EMBEDDINGS, seed=1):
        open_session(triton, picture)
    # Often: a server that loses count of a failed branch's steps would crash.
    for _ in range(40):
        assert_lost(triton, handle)
    assert_same(whole(triton, PICTURES[0], QUESTION), ask(triton, handle))


def test_an_image_that_only_the_language_models_stage_has_forgotten_is_lost(triton):
    handle = open_session(triton, PICTURES[1])
    reload(triton, "llava_med")
    for _ in range(40):
        assert_lost(triton, handle)
    again = open_session(triton, PICTURES[1])
    assert_same(ask(triton, again), whole(triton, PICTURES[1], QUESTION))
    # The handle stands for the image, which is known again.
    assert_same(ask(triton, handle), ask(triton, again))


def test_the_session_that_was_asked_longest_ago_makes_room(triton):
    first, second = open_session(triton, PICTURES[0]), open_session(triton, PICTURES[0])
    ask(triton, first)
    for _ in range(HANDLES - 1):
        open_session(triton, PICTURES[0])
    ask(triton, first)
    assert_lost(triton, second)


def test_a_guess_is_answered_as_a_session_that_has_ended(triton):
    for guess in (b"", b"guess", b"A" * 43, b"\xc3\xa9" * 100):
        assert_lost(triton, guess or b"-")


def test_sessions_end_with_their_lifetime_and_with_the_stages_process(triton):
    handle = open_session(triton, PICTURES[2])
    ask(triton, handle)
    # Shorter than any answer takes to come.
    reload(triton, SESSIONS_NAME, {LIFETIME_PARAMETER: "0.0001"})
    assert_lost(triton, handle)
    assert_lost(triton, open_session(triton, PICTURES[2]))
    reload(triton, SESSIONS_NAME, {LIFETIME_PARAMETER: "1800"})
    opened = infer(triton, tritonclient.grpc, ENCODE_NAME, {"IMAGE": PICTURES[2]})
    assert opened.as_numpy("LIFETIME_S").tolist() == [[1800]]
    ask(triton, opened.as_numpy("HANDLE").item())


def test_HTTP_says_404_of_a_lost_session(server):
    asked = {"HANDLE": b"guess", "QUERY": QUESTION.encode()}
    with (
        tritonclient.http.InferenceServerClient(server.http_address) as http,
        pytest.raises(InferenceServerException, match="SessionLostError") as lost,
    ):
        infer(http, tritonclient.http, ASK_NAME, asked, ("VERDICTS",))
    assert lost.value.status() == "404"


def test_bad_questions_images_and_halves_of_a_request_are_told_apart(triton):
    handle = open_session(triton, PICTURES[0])
    with pytest.raises(InferenceServerException, match="QuestionError"):
        ask(triton, handle, "  ")
    with pytest.raises(InferenceServerException, match="ImageError"):
        open_session(triton, b"no image")
    with pytest.raises(InferenceServerException, match="InvalidInputError: wanted HANDLE, QUERY"):
        infer(triton, tritonclient.grpc, SESSIONS_NAME, {"HANDLE": handle}, ("question",))
    with pytest.raises(InferenceServerException, match="QUERY"):
        infer(triton, tritonclient.grpc, ASK_NAME, {"HANDLE": handle})
    tensor = tritonclient.grpc.InferInput("IMAGE", [1, 1], "BYTES")
    tensor.set_data_from_numpy(np.array([[PICTURES[0]]], dtype=object))
    with pytest.raises(InferenceServerException, match="ContractError"):
        triton.infer(ENCODE_NAME, [tensor], parameters={CONTRACT_PARAMETER: "other"})
    ask(triton, handle)


def test_the_servers_metrics_count_sessions(server, triton):
    def number(name: str) -> float:
        with urllib.request.urlopen(server.metrics_url) as page:
            text = page.read().decode()
        found = re.search(rf'^{name}{{stage="sessions"}} (\S+)$', text, re.MULTILINE)
        assert found, name
        return float(found[1])

    handle = open_session(triton, PICTURES[0])
    opened, lost = number("organ_seg_sessions_opened"), number("organ_seg_sessions_lost")
    assert 1 <= number("organ_seg_sessions_open") <= HANDLES
    open_session(triton, PICTURES[0])
    assert_lost(triton, b"guess")
    ask(triton, handle)
    assert number("organ_seg_sessions_opened") == opened + 1
    assert number("organ_seg_sessions_lost") == lost + 1


def test_no_handle_is_in_the_log_however_much_is_written_there(triton, log_file):
    handle = open_session(triton, PICTURES[0])
    ask(triton, handle)
    with pytest.raises(InferenceServerException):
        ask(triton, handle, " ")
    written = log_file.read_text(encoding="utf-8", errors="replace")
    assert ASK_NAME in written
    assert handle.decode() not in written


def test_where_a_stage_has_no_room_for_one_image_no_session_is_opened(triton):
    # The last test: the bounds stay. Of two stages without room, the first is named.
    for model in ("llava_med", FEATURES_NAME):
        reload(triton, model, {KEPT_BYTES_PARAMETER: "1000"})
        with pytest.raises(InferenceServerException, match="with the image each time") as refused:
            open_session(triton, PICTURES[0])
        assert refused.value.status() == "StatusCode.UNIMPLEMENTED"
        assert f"ORGANSEG_KEPT_MIB_{model.upper()}" in refused.value.message()
    assert whole(triton, PICTURES[0], QUESTION)["VERDICTS"].tolist() == [b"segmented"]
