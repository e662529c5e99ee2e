"""The client on a fake transport: what goes out, what comes back, and when it refuses."""

from __future__ import annotations

import inspect
import threading

import numpy as np
import pytest
from client_fakes import (
    BOTH_KIDNEYS,
    GALLBLADDER,
    LIVER_BUT_NO_SPLEEN,
    OUT_OF_SCOPE,
    SPLEEN_ABSENT,
    Entries,
    FakeTransport,
    boxes_of,
)

import organseg_client
from organseg import errors
from organseg.contract import (
    CONTRACT_PARAMETER,
    CONTRACT_VERSION,
    ENSEMBLE_NAME,
    TINY,
    Verdict,
    ensemble_tensors,
)
from organseg.organs import organ_by_id
from organseg_client import OrganSegClient

IMAGE = np.arange(40 * 60, dtype=np.uint8).reshape(40, 60)
QUESTION = "Which organ stores bile?"


@pytest.fixture
def transport() -> FakeTransport:
    return FakeTransport()


@pytest.fixture
def client(transport: FakeTransport) -> OrganSegClient:
    return OrganSegClient(transport=transport)


def test_a_request_fits_the_contract_in_names_types_and_shapes(
    client: OrganSegClient, transport: FakeTransport
) -> None:
    client.segment(IMAGE, QUESTION, window=(-160, 240), request_id="case 7")
    (request,) = transport.requests
    inputs, outputs = ensemble_tensors(TINY)
    assert request.model_name == ENSEMBLE_NAME
    assert list(request.outputs) == [tensor.name for tensor in outputs]
    assert set(request.inputs) == {tensor.name for tensor in inputs}
    for tensor in inputs:
        array = request.inputs[tensor.name]
        assert array.dtype == tensor.dtype.numpy
        assert array.shape == (1, *tensor.shape())
    assert request.inputs["QUERY"].item() == QUESTION.encode()
    assert request.inputs["WINDOW"].tolist() == [[-160, 240]]
    assert request.parameters == {CONTRACT_PARAMETER: CONTRACT_VERSION}
    assert request.request_id == "case 7"


def test_without_a_window_none_is_sent(client: OrganSegClient, transport: FakeTransport) -> None:
    client.segment(IMAGE, QUESTION)
    assert set(transport.requests[0].inputs) == {"IMAGE", "QUERY"}


def test_the_result_has_every_part_of_the_answer(
    client: OrganSegClient, transport: FakeTransport
) -> None:
    transport.entries = BOTH_KIDNEYS
    result = client.segment(IMAGE, "Show me both kidneys.", request_id="7")
    assert result.verdict is Verdict.SEGMENTED
    assert [(one.id, one.letter, one.name, one.verdict) for one in result.organs] == [
        (2, "B", "right kidney", Verdict.SEGMENTED),
        (13, "M", "left kidney", Verdict.SEGMENTED),
    ]
    assert (result.masks.dtype, result.masks.shape) == (np.bool_, (2, 40, 60))
    assert (result.boxes.dtype, result.boxes.shape) == (np.float32, (2, 4))
    np.testing.assert_array_equal(result.boxes, boxes_of(BOTH_KIDNEYS, (40, 60)))
    assert result.masks[0, 5, 5]
    assert not result.masks[1, 5, 5]
    np.testing.assert_array_equal(result.quality, np.float32([0.75, 0.75]))
    assert result.similarity.shape == (14,)
    assert result.presence.shape == (13,)
    assert result.request_id == "7"
    assert 0 < result.seconds < 10


@pytest.mark.parametrize(
    ("entries", "verdict", "reason"),
    [
        (GALLBLADDER, Verdict.SEGMENTED, "The image shows the gallbladder."),
        (BOTH_KIDNEYS, Verdict.SEGMENTED, "The image shows the right kidney and left kidney."),
        (SPLEEN_ABSENT, Verdict.ABSENT_IN_IMAGE, "The image does not show the spleen."),
        (
            LIVER_BUT_NO_SPLEEN,
            Verdict.SEGMENTED,
            "The image shows the liver, but it does not show the spleen.",
        ),
        (
            tuple((organ_id, Verdict.ABSENT_IN_IMAGE) for organ_id in (1, 3, 4)),
            Verdict.ABSENT_IN_IMAGE,
            "The image does not show the liver, spleen and pancreas.",
        ),
        (OUT_OF_SCOPE, Verdict.OUT_OF_SCOPE, "The question asks for none of the 13 organs."),
    ],
)
def test_the_whole_answer_has_a_verdict_and_a_plain_reason(
    entries: Entries,
    verdict: Verdict,
    reason: str,
    client: OrganSegClient,
    transport: FakeTransport,
) -> None:
    transport.entries = entries
    result = client.segment(IMAGE, QUESTION)
    assert result.verdict is verdict
    assert result.reason == reason
    assert [one.name for one in result.organs] == [organ_by_id(each).name for each, _ in entries]
    for one, mask in zip(result.organs, result.masks, strict=True):
        assert mask.any() == (one.verdict is Verdict.SEGMENTED)


def test_a_request_without_an_id_gets_one_of_its_own(
    client: OrganSegClient, transport: FakeTransport
) -> None:
    ids = {client.segment(IMAGE, QUESTION).request_id for _ in range(3)}
    assert len(ids) == 3
    assert ids == {request.request_id for request in transport.requests}


@pytest.mark.parametrize("request_id", ["", "x" * 129, "a\nb", 7])
def test_a_request_id_that_would_spoil_a_log_is_refused(
    request_id: str, client: OrganSegClient, transport: FakeTransport
) -> None:
    with pytest.raises(errors.InvalidInputError, match="wanted a request id"):
        client.segment(IMAGE, QUESTION, request_id=request_id)
    assert transport.requests == []


def test_server_and_contract_are_asked_once_and_before_the_first_request(
    client: OrganSegClient, transport: FakeTransport
) -> None:
    client.segment(IMAGE, QUESTION)
    client.segment(IMAGE, QUESTION)
    check = [f"is_ready {ENSEMBLE_NAME}", f"model_config {ENSEMBLE_NAME}"]
    assert transport.calls == [*check, "infer", "infer"]


def test_connect_finds_out_without_a_request(
    client: OrganSegClient, transport: FakeTransport
) -> None:
    client.connect()
    client.connect()
    assert transport.calls == [f"is_ready {ENSEMBLE_NAME}", f"model_config {ENSEMBLE_NAME}"]


@pytest.mark.parametrize("served", [{CONTRACT_PARAMETER: "0123456789ab"}, {}])
def test_a_server_of_another_contract_is_refused_with_both_versions_and_the_remedy(
    served: dict[str, str], client: OrganSegClient, transport: FakeTransport
) -> None:
    transport.parameters = served
    for _ in range(2):
        with pytest.raises(errors.ContractError, match="install the client") as caught:
            client.segment(IMAGE, QUESTION)
        assert CONTRACT_VERSION in str(caught.value)
        assert served.get(CONTRACT_PARAMETER, "version none") in str(caught.value)
    assert transport.requests == []


def test_a_model_that_is_not_ready_is_worth_a_retry_and_the_retry_asks_again(
    client: OrganSegClient, transport: FakeTransport
) -> None:
    transport.ready = False
    with pytest.raises(errors.ServerBusyError, match="'organ_seg' ready"):
        client.segment(IMAGE, QUESTION)
    transport.ready = True
    assert client.segment(IMAGE, QUESTION).verdict is Verdict.SEGMENTED


def test_bad_input_is_refused_before_the_server_is_asked_anything(
    client: OrganSegClient, transport: FakeTransport
) -> None:
    with pytest.raises(errors.QuestionError):
        client.segment(IMAGE, "  ")
    with pytest.raises(errors.ImageError):
        client.segment(np.zeros((3, 40, 60), dtype=np.uint8), QUESTION)
    with pytest.raises(errors.WindowError):
        client.segment(IMAGE, QUESTION, window=(240, -160))
    assert transport.calls == []


def test_an_error_of_the_transport_reaches_the_caller_as_it_is(
    client: OrganSegClient, transport: FakeTransport
) -> None:
    transport.failure = errors.ServerFaultError("wanted a result, got 'stub'; read the log")
    with pytest.raises(errors.ServerFaultError, match="stub") as caught:
        client.segment(IMAGE, QUESTION)
    assert caught.value is transport.failure


def test_a_call_has_the_clients_deadline_unless_it_names_its_own(
    transport: FakeTransport,
) -> None:
    client = OrganSegClient(transport=transport, deadline_s=5)
    client.segment(IMAGE, QUESTION)
    assert all(4 < seconds <= 5 for seconds in transport.deadlines_s)
    assert len(transport.deadlines_s) == 3
    client.segment(IMAGE, QUESTION, deadline_s=100)
    assert 99 < transport.deadlines_s[-1] <= 100


def test_a_deadline_that_passes_on_the_way_stops_before_the_request(
    client: OrganSegClient, transport: FakeTransport
) -> None:
    with pytest.raises(errors.DeadlineExceededError, match="wanted an answer within 1e-09 s"):
        client.segment(IMAGE, QUESTION, deadline_s=1e-9)
    assert transport.requests == []


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), "soon", [1]])
def test_a_deadline_that_is_none_is_refused_at_once(
    seconds: float, client: OrganSegClient, transport: FakeTransport
) -> None:
    with pytest.raises(errors.InvalidInputError, match="wanted a deadline"):
        OrganSegClient(transport=transport, deadline_s=seconds)
    with pytest.raises(errors.InvalidInputError, match="wanted a deadline"):
        client.segment(IMAGE, QUESTION, deadline_s=seconds)
    assert transport.calls == []


def test_leaving_the_block_closes_and_a_closed_client_says_so(transport: FakeTransport) -> None:
    with OrganSegClient(transport=transport) as client:
        client.segment(IMAGE, QUESTION)
    assert transport.calls[-1] == "close"
    with pytest.raises(errors.ServerUnreachableError, match="make another OrganSegClient"):
        client.segment(IMAGE, QUESTION)
    assert transport.calls[-1] == "close"


def test_threads_share_one_client_and_each_gets_its_own_answer(transport: FakeTransport) -> None:
    sizes = [(16 + index, 24) for index in range(8)]
    shapes: dict[int, tuple[int, ...]] = {}
    start = threading.Barrier(len(sizes))
    with OrganSegClient(transport=transport) as client:

        def ask(index: int) -> None:
            start.wait(timeout=10)
            result = client.segment(np.zeros(sizes[index], dtype=np.uint8), QUESTION)
            shapes[index] = result.masks.shape[1:]

        threads = [threading.Thread(target=ask, args=(index,)) for index in range(len(sizes))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=30)
    assert shapes == dict(enumerate(sizes))
    assert transport.calls.count(f"is_ready {ENSEMBLE_NAME}") == 1


def test_everything_named_in_all_exists_and_everything_public_is_named() -> None:
    named = organseg_client.__all__
    assert len(set(named)) == len(named)
    public = {
        name
        for name, value in vars(organseg_client).items()
        if not name.startswith("_") and not inspect.ismodule(value)
    }
    assert public == set(named)


def test_every_error_that_a_client_can_meet_is_in_its_namespace() -> None:
    not_for_clients = {
        "CheckpointError",
        "DatasetError",
        "EngineError",
        "ReleaseError",
        "ServerStartError",
        "SourceError",
        "TrainingDivergedError",
        "TrainingOptionError",
    }
    assert set(errors.__all__) - not_for_clients <= set(organseg_client.__all__)
