"""Both transports against the real Triton, through the same table of tests."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from both_transports import KINDS, opened
from toy_models import (
    ECHO,
    MORTAL,
    ORGAN_WORDS,
    TALK,
    echo_request,
    expected_masks,
    talk_request,
    until,
    write_toy_models,
)

from organseg import errors
from organseg.serving.embedded import EmbeddedServer, ServerOptions
from organseg_client import InferenceRequest

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the models touch files and wait for some."""
    return tmp_path_factory.mktemp("signs")


@pytest.fixture(scope="module")
def toy_address(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    repository = tmp_path_factory.mktemp("toy") / "models"
    write_toy_models(repository, folder, ECHO, TALK, MORTAL)
    # A dead stub would hold the server up for as long as it is allowed to.
    options = ServerOptions(grpc_port=0, http_port=0, metrics_port=0, stop_timeout_s=1)
    with EmbeddedServer(repository, options) as server:
        yield server.grpc_address


@pytest.fixture(params=KINDS)
def transport(request: pytest.FixtureRequest, toy_address: str) -> Iterator[Any]:
    with opened(request.param, toy_address) as transport:
        yield transport


def words_of(responses: Any) -> list[str]:
    return [response.outputs["WORD"][0].decode() for response in responses]


def test_an_inference_carries_text_numbers_and_masks_both_ways(transport: Any) -> None:
    response = transport.infer(echo_request(1000, (2, 30, 20)))
    np.testing.assert_array_equal(response.outputs["MASKS"], expected_masks(1000, (2, 30, 20)))
    assert response.outputs["LENGTH"].tolist() == [1000]
    assert response.outputs["WORDS"].tolist() == [b"file", b""]
    assert response.request_id == "echo 1000"


def test_an_output_without_values_keeps_its_shape(transport: Any) -> None:
    assert transport.infer(echo_request(10, (0, 4, 4))).outputs["MASKS"].shape == (0, 4, 4)


def test_a_server_says_its_name_version_and_what_it_offers(transport: Any) -> None:
    metadata = transport.server_metadata(10.0)
    assert metadata.name.startswith("organseg-")
    assert metadata.version == "2.51.0"
    assert {"statistics", "system_shared_memory"} <= set(metadata.extensions)


def test_a_model_says_its_configuration_and_whether_it_is_loaded(
    transport: Any, folder: Path
) -> None:
    config = transport.model_config(TALK, 10.0)
    assert (config.name, config.parameters) == (TALK, {"folder": str(folder)})
    assert transport.is_ready(TALK, 10.0)
    assert not transport.is_ready("nobody", 10.0)
    with pytest.raises(errors.ServerFaultError, match="wanted a server that has the model"):
        transport.model_config("nobody", 10.0)


def test_statistics_count_what_was_asked(transport: Any) -> None:
    def echoed() -> Any:
        (found,) = (one for one in transport.statistics(10.0) if one.name == ECHO)
        return found

    refused = InferenceRequest(ECHO, {}, ("MASKS",), {}, "incomplete", 10.0)
    before = echoed()
    for _ in range(5):
        transport.infer(echo_request())
    with pytest.raises(errors.InvalidInputError):
        transport.infer(refused)
    # Triton counts a request after it has sent the answer.
    until(lambda: echoed().successes == before.successes + 5)
    after = echoed()
    assert after.version == "1"
    assert after.executions - before.executions == 5
    assert after.inferences - before.inferences == 5
    assert 0 < after.compute_infer_ms < 1000
    assert 0 < after.queue_ms < 1000
    assert after.mean_batch == 1.0
    assert [one.name for one in transport.statistics(10.0)] == [ECHO, MORTAL, TALK]


def test_a_stream_gives_every_response_in_order_and_ends(transport: Any) -> None:
    stream = transport.stream(talk_request(5))
    assert words_of(stream) == list(ORGAN_WORDS)
    assert list(stream) == []
    assert list(transport.stream(talk_request(0))) == []


def test_an_error_inside_a_stream_comes_behind_what_was_sent_before_it(transport: Any) -> None:
    stream = transport.stream(talk_request(2, "ImageError: wanted a PNG, came none; send one"))
    assert words_of([next(stream), next(stream)]) == ["the", "organ"]
    with pytest.raises(errors.ImageError, match=r"^wanted a PNG, came none; send one$"):
        next(stream)
    assert list(stream) == []


def test_a_stream_of_a_model_that_is_not_there_says_so(transport: Any) -> None:
    with pytest.raises(errors.ServerFaultError, match="wanted a server that has the model"):
        list(transport.stream(talk_request(2, model_name="nobody")))


def test_closing_a_stream_reaches_the_model_and_ends_the_iteration(
    transport: Any, folder: Path
) -> None:
    sign = folder / "cancelled"
    sign.unlink(missing_ok=True)
    stream = transport.stream(talk_request(2500))
    assert words_of([next(stream)]) == ["the"]
    stream.close()
    stream.close()
    assert list(stream) == []
    until(sign.exists)


def test_another_thread_may_close_a_stream_that_is_waited_for(transport: Any, folder: Path) -> None:
    (folder / "cancelled").unlink(missing_ok=True)
    stream = transport.stream(talk_request(2500))
    next(stream)
    with ThreadPoolExecutor(1) as pool:
        rest = pool.submit(list, stream)
        stream.close()
        assert len(rest.result(timeout=20)) < 2400
    until((folder / "cancelled").exists)


def test_streams_run_beside_each_other_and_beside_other_calls(transport: Any) -> None:
    streams = [transport.stream(talk_request(count)) for count in (20, 10)]
    for stream in streams:
        assert words_of([next(stream)]) == ["the"]
    assert transport.infer(echo_request()).outputs["LENGTH"].tolist() == [10]
    assert [len(list(stream)) for stream in streams] == [19, 9]


def test_a_stream_ends_at_its_deadline(transport: Any) -> None:
    stream = transport.stream(talk_request(2500, deadline_s=0.5))
    started_s = time.monotonic()
    with pytest.raises(errors.DeadlineExceededError, match="within the deadline"):
        list(stream)
    assert time.monotonic() - started_s < 10


def test_an_inference_ends_at_its_deadline(transport: Any, folder: Path) -> None:
    with pytest.raises(errors.DeadlineExceededError):
        transport.infer(echo_request(waits=True, deadline_s=0.2))
    (folder / "go on").touch()
    assert transport.infer(echo_request(waits=True)).outputs["LENGTH"].tolist() == [10]
    (folder / "go on").unlink()


def test_a_model_whose_process_died_is_named_so(transport: Any) -> None:
    request = InferenceRequest(
        MORTAL, {"COUNT": np.array([1], dtype=np.int32)}, ("COUNT_OUT",), {}, "last", 10.0
    )
    with pytest.raises(errors.ServerFaultError):
        transport.infer(request)
    with pytest.raises(errors.StageDeadError, match="is not healthy"):
        transport.infer(request)
    assert transport.is_ready(MORTAL, 10.0)


def test_closing_a_transport_ends_what_is_under_way(transport: Any) -> None:
    stream = transport.stream(talk_request(2500))
    next(stream)
    transport.close()
    with pytest.raises(errors.ServerUnreachableError):
        list(stream)
    with pytest.raises(errors.ServerUnreachableError, match="was closed"):
        transport.infer(echo_request())
    with pytest.raises(errors.ServerUnreachableError, match="was closed"):
        list(transport.stream(talk_request(1)))
