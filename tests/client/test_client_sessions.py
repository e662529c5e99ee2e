"""An open image in both clients, on fakes: what is sent, where to, and again when."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from client_fakes import AsyncCalls, Gate
from keeping_server import FIRST, LIFETIME_S, KeepingTransport, opened
from scenarios import FAULT, IMAGE, QUESTION, Open

from organseg import errors
from organseg.contract import ASK_NAME, ENCODE_NAME
from organseg.imaging.encoding import encode_png
from organseg_client import ImageSent, OrganSegClient

# what is sent


def test_an_image_is_sent_once_and_questions_travel_alone(open_calls: Open) -> None:
    fake = KeepingTransport()
    scan = opened(open_calls(fake), window=(0, 100), request_id="mine")
    # It is open before anything was asked: errors show there.
    assert fake.asked == [ENCODE_NAME]
    answers = [scan.call("ask", QUESTION) for _ in range(3)]
    assert fake.asked == [ENCODE_NAME, ASK_NAME, ASK_NAME, ASK_NAME]
    encoding, asking = fake.requests[:2]
    assert set(encoding.inputs) == {"IMAGE", "WINDOW"}
    assert (encoding.request_id, encoding.outputs) == ("mine", ("HANDLE", "LIFETIME_S"))
    assert set(asking.inputs) == {"HANDLE", "QUERY"}
    assert asking.inputs["QUERY"][0, 0] == QUESTION.encode()
    assert {answer.organs[0].name for answer in answers} == {"gallbladder"}
    assert scan.client.image_sent is ImageSent.ONCE
    assert (scan.client.times_encoded, scan.client.lifetime_s) == (1, LIFETIME_S)
    assert scan.client.server == FIRST


def test_an_answer_is_the_one_that_segment_gives_with_its_image_and_timings(
    open_calls: Open,
) -> None:
    calls = open_calls(KeepingTransport())
    wanted = calls.call("segment", IMAGE, QUESTION)
    result = opened(calls).call("ask", QUESTION, request_id="7")
    assert result.to_dict().keys() == wanted.to_dict().keys()
    np.testing.assert_array_equal(result.masks, wanted.masks)
    assert result.overlay().tobytes() == wanted.overlay().tobytes()
    assert (result.request_id, result.server) == ("7", FIRST)
    timings = result.timings
    assert timings.attempts == 1
    assert 0 < timings.round_trip_s <= timings.total_s


def test_masks_may_come_through_shared_memory_as_they_may_for_segment(open_calls: Open) -> None:
    fake = KeepingTransport()
    calls = open_calls(fake)
    opened(calls).call("ask", QUESTION)
    calls.call("segment", IMAGE, QUESTION)
    _, asking, segmenting = fake.requests
    assert asking.outputs == segmenting.outputs
    assert asking.output_bytes == segmenting.output_bytes != {}


def test_the_handle_is_a_header_of_each_question_and_of_nothing_else(open_calls: Open) -> None:
    fake = KeepingTransport(losses=1)
    calls = open_calls(fake)
    opened(calls).call("ask", QUESTION)
    calls.call("segment", IMAGE, QUESTION)
    for request in fake.requests:
        handle = request.inputs["HANDLE"][0, 0].decode() if request.model_name == ASK_NAME else None
        assert request.metadata.get("organ-seg-session") == handle


def test_a_word_of_the_image_goes_with_all_of_its_calls_so_that_a_proxy_can_keep_them_together(
    open_calls: Open,
) -> None:
    fake = KeepingTransport()
    calls = open_calls(fake)
    scans = [opened(calls), opened(calls)]
    fake.losses = 1
    for scan in scans:
        scan.call("ask", QUESTION)
    calls.call("segment", IMAGE, QUESTION)
    # The first image is encoded, and again when it was lost; so are the words.
    words = [request.metadata.get("organ-seg-route") for request in fake.requests]
    first, second = words[:2]
    assert words == [first, second, first, first, first, second, None]
    assert first != second
    assert first not in {handle.decode() for handle in fake.kept}


@pytest.mark.parametrize(
    "error", [errors.ImageError("no"), errors.AuthenticationError("no"), FAULT]
)
def test_an_error_of_the_image_shows_where_it_is_opened(
    error: errors.OrganSegError, open_calls: Open
) -> None:
    fake = KeepingTransport(failure=error)
    with pytest.raises(type(error)) as caught:
        opened(open_calls(fake))
    assert caught.value is error
    with pytest.raises(errors.ImageError):
        open_calls(fake).call("open", b"")
    assert fake.asked == [ENCODE_NAME]


def test_a_question_that_is_none_is_refused_before_anything_is_sent(open_calls: Open) -> None:
    fake = KeepingTransport()
    scan = opened(open_calls(fake))
    with pytest.raises(errors.QuestionError):
        scan.call("ask", " ")
    assert fake.asked == [ENCODE_NAME]


# an image that was lost


def test_an_image_that_was_lost_is_sent_again_and_the_question_asked_again(
    open_calls: Open,
) -> None:
    fake = KeepingTransport()
    scan = opened(open_calls(fake))
    fake.kept.clear()
    result = scan.call("ask", QUESTION, request_id="7")
    assert fake.asked == [ENCODE_NAME, ASK_NAME, ENCODE_NAME, ASK_NAME]
    assert {request.request_id for request in fake.requests[1:]} == {"7"}
    assert result.timings.attempts == 2
    # The next question finds it.
    assert scan.call("ask", QUESTION).timings.attempts == 1
    assert scan.client.times_encoded == 2


def test_it_is_sent_again_to_the_same_server_which_needs_no_rest(open_calls: Open) -> None:
    fakes = [KeepingTransport(), KeepingTransport()]
    calls = open_calls(*fakes)
    scan = opened(calls)
    fakes[0].kept.clear()
    assert scan.call("ask", QUESTION).server == FIRST
    assert fakes[1].asked == []
    assert not any(
        map(calls.client._session.balancer.rests, calls.client._session.balancer.servers)
    )


def test_an_image_that_is_lost_once_more_is_an_error(open_calls: Open) -> None:
    fake = KeepingTransport(losses=2)
    scan = opened(open_calls(fake, KeepingTransport()))
    with pytest.raises(errors.SessionLostError):
        scan.call("ask", QUESTION)
    assert fake.asked == [ENCODE_NAME, ASK_NAME, ENCODE_NAME, ASK_NAME]
    # It is not the end of the image: the next question may find it again.
    assert scan.call("ask", QUESTION).organs[0].name == "gallbladder"


def test_everything_about_a_lost_image_is_within_the_deadline(open_calls: Open) -> None:
    fake = KeepingTransport(losses=1)
    opened(open_calls(fake)).call("ask", QUESTION, deadline_s=5)
    left = [request.deadline_s for request in fake.requests[1:]]
    assert left == sorted(left, reverse=True)
    assert len(set(left)) == 3
    assert left[0] < 5


def test_questions_that_find_it_lost_together_send_it_again_once(open_calls: Open) -> None:
    fake = KeepingTransport()
    scan = opened(open_calls(fake))
    fake.kept.clear()
    # Each of the six has been lost before the first of them may send the image.
    fake.gate = Gate(wanted=6)
    answers = scan.together("ask", [(QUESTION,)] * 6)
    assert len(answers) == 6
    assert (fake.asked.count(ENCODE_NAME), scan.client.times_encoded) == (2, 2)


def test_one_image_does_not_wait_for_another(open_calls: Open) -> None:
    fake = KeepingTransport()
    calls = open_calls(fake)
    # Both are on the wire at once.
    fake.gate = Gate(wanted=2)
    assert len(calls.together("open", [(IMAGE,), (IMAGE,)])) == 2


def test_a_client_keeps_nothing_of_images_that_are_closed(open_calls: Open) -> None:
    calls = open_calls(KeepingTransport())
    for _ in range(5):
        opened(calls).call("close")
    assert not [name for name in calls.client._driver._locks if "image" in name]


# closing


def test_a_closed_image_answers_nothing(open_calls: Open) -> None:
    fake = KeepingTransport()
    scan = opened(open_calls(fake))
    scan.call("close")
    scan.call("close")
    with pytest.raises(errors.InvalidInputError, match="open it again"):
        scan.call("ask", QUESTION)
    assert fake.asked == [ENCODE_NAME]


def test_a_closed_client_says_so_before_an_open_image_does(open_calls: Open) -> None:
    calls = open_calls(KeepingTransport())
    scan = opened(calls)
    calls.call("close")
    with pytest.raises(errors.ServerUnreachableError, match="make another"):
        scan.call("ask", QUESTION)
    with pytest.raises(errors.ServerUnreachableError, match="make another"):
        calls.call("open", b"no image")
    scan.call("close")
    with pytest.raises(errors.ServerUnreachableError, match="make another"):
        scan.call("ask", QUESTION)


def test_the_end_of_a_with_block_closes_it() -> None:
    client = OrganSegClient("server:8001", transport=KeepingTransport())
    with client.open(encode_png(IMAGE)) as scan:
        assert scan.ask(QUESTION).organs[0].name == "gallbladder"
    with pytest.raises(errors.InvalidInputError, match="closed"):
        scan.ask(QUESTION)


def test_an_async_image_is_open_once_it_was_entered_or_awaited() -> None:
    fake = KeepingTransport()
    calls = AsyncCalls({"server:8001": fake})

    async def run() -> None:
        scan = calls.client.open(IMAGE)
        await scan.close()
        for use in (lambda: scan.image_sent, lambda: scan.server):
            with pytest.raises(errors.InvalidInputError, match="await it"):
                use()
        with pytest.raises(errors.InvalidInputError, match="await it"):
            await scan.ask(QUESTION)
        assert fake.asked == []
        async with calls.client.open(IMAGE) as entered:
            assert (await entered.ask(QUESTION)).organs
        with pytest.raises(errors.InvalidInputError, match="closed"):
            await entered.ask(QUESTION)
        fake.failures.append(FAULT)
        unlucky = calls.client.open(IMAGE)
        with pytest.raises(errors.ServerFaultError):
            await unlucky
        assert await unlucky is unlucky
        assert (await unlucky.ask(QUESTION)).organs

    calls.loop.run_until_complete(run())
    calls.end()


# the handle


def test_a_handle_is_in_nothing_that_is_shown(open_calls: Open) -> None:
    fake = KeepingTransport()
    scan = opened(open_calls(fake))
    (handle,) = fake.kept
    fake.losses = 2
    with pytest.raises(errors.SessionLostError) as caught:
        scan.call("ask", QUESTION)
    kept = scan.client._opened.kept
    shown = [scan.client, vars(scan.client), kept, caught.value, *fake.requests]
    for each in shown:
        assert handle.decode() not in repr(each)
    assert kept.handle.decode() not in repr(shown)


@pytest.mark.parametrize(
    "changed",
    [
        {"HANDLE": None},
        {"LIFETIME_S": None},
        {"HANDLE": np.array([[b""]], dtype=object)},
        {"HANDLE": np.array([[b"secret\r\nanother: header"]], dtype=object)},
        {"HANDLE": np.array([["secret \u00e9".encode()]], dtype=object)},
        {"HANDLE": np.array([["secret"]], dtype=object)},
        {"HANDLE": np.array([[b"secret"], [b"secret"]], dtype=object)},
        {"HANDLE": np.array([[b"secret" * 100]], dtype=object)},
        {"LIFETIME_S": np.array([[0]], dtype=np.float32)},
        {"LIFETIME_S": np.array([[np.nan]], dtype=np.float32)},
        {"LIFETIME_S": np.array([[np.inf]], dtype=np.float32)},
        {"LIFETIME_S": np.array([[b"long"]], dtype=object)},
    ],
)
def test_an_encoding_that_is_none_of_the_contract_is_refused(
    changed: dict[str, Any], open_calls: Open
) -> None:
    with pytest.raises(errors.ContractError, match="HANDLE and LIFETIME_S") as caught:
        opened(open_calls(KeepingTransport(changed_encoding=changed)))
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None
