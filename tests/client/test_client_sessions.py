"""An open image in both clients, on fakes: what is sent, where to, and again when."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
import pytest
from client_fakes import AsyncCalls, Calls, Gate
from keeping_server import LIFETIME_S, KeepingTransport
from scenarios import BUSY, DEAD, FAULT, IMAGE, QUESTION, UNREACHABLE, Open

from organseg import errors
from organseg.contract import ASK_NAME, ENCODE_NAME, ENSEMBLE_NAME
from organseg.imaging.encoding import encode_png
from organseg_client import ImageSent, OrganSegClient, RetryPolicy
from organseg_client.status import error_of_status

FIRST, SECOND = "server-0:8001", "server-1:8001"


def opened(calls: Calls, **options: Any) -> Any:
    """The calls of an image that is open."""
    return calls.on(calls.call("open", IMAGE, **options))


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


# several servers


def test_it_sticks_to_its_server_however_busy_that_is(open_calls: Open) -> None:
    fakes = [KeepingTransport(), KeepingTransport()]
    calls = open_calls(*fakes)
    first, second = opened(calls), opened(calls)
    for _ in range(3):
        assert first.call("ask", QUESTION).server == FIRST
    fakes[0].gate = Gate(wanted=4)
    assert {one.server for one in first.together("ask", [(QUESTION,)] * 4)} == {FIRST}
    # Images are spread all the same.
    assert second.call("ask", QUESTION).server == SECOND


@pytest.mark.parametrize("error", [BUSY, UNREACHABLE, DEAD], ids=lambda error: type(error).__name__)
def test_where_its_server_fails_it_moves_to_another(
    error: errors.OrganSegError, open_calls: Open
) -> None:
    down, up = KeepingTransport(), KeepingTransport()
    scan = opened(open_calls(down, up))
    down.failure = error
    result = scan.call("ask", QUESTION)
    assert (result.server, result.timings.attempts) == (SECOND, 2)
    assert up.asked == [ENCODE_NAME, ASK_NAME]
    # Whether it serves sessions is no question then.
    assert f"is_ready {ASK_NAME}" not in down.calls
    # And stays there, also once the other is back.
    down.failure = None
    assert scan.call("ask", QUESTION).server == SECOND
    assert scan.client.server == SECOND


def test_questions_that_leave_a_server_together_move_the_image_once(open_calls: Open) -> None:
    down, *others = (KeepingTransport() for _ in range(4))
    scan = opened(open_calls(down, *others))
    down.failure = UNREACHABLE
    down.gate = Gate(wanted=6)
    answers = scan.together("ask", [(QUESTION,)] * 6)
    assert len({answer.server for answer in answers}) == 1
    assert sum(other.asked.count(ENCODE_NAME) for other in others) == 1


@pytest.mark.parametrize("error", [BUSY, UNREACHABLE, DEAD], ids=lambda error: type(error).__name__)
def test_a_server_that_fails_to_encode_is_asked_to_by_one_question(
    error: errors.OrganSegError, open_calls: Open
) -> None:
    down, up = KeepingTransport(), KeepingTransport()
    scan = opened(open_calls(down, up))
    down.kept.clear()
    down.encoding_failure = error
    down.gate = Gate(wanted=6)
    answers = scan.together("ask", [(QUESTION,)] * 6)
    assert [answer.server for answer in answers] == [SECOND] * 6
    # The one that opened it, and the one that failed.
    assert (down.asked.count(ENCODE_NAME), up.asked.count(ENCODE_NAME)) == (2, 1)


def test_a_server_alone_that_fails_for_now_is_asked_again_by_the_same_handle(
    open_calls: Open,
) -> None:
    fake = KeepingTransport()
    scan = opened(open_calls(fake))
    fake.failures = deque([BUSY, UNREACHABLE])
    assert scan.call("ask", QUESTION).timings.attempts == 3
    assert fake.asked == [ENCODE_NAME, *[ASK_NAME] * 3]


def test_a_model_that_is_being_loaded_is_no_lost_image(open_calls: Open) -> None:
    loading, up = KeepingTransport(), KeepingTransport()
    scan = opened(open_calls(loading, up))
    loading.failure = error_of_status("NOT_FOUND", f"'{ASK_NAME}' has no available versions")
    assert scan.call("ask", QUESTION).server == SECOND
    assert loading.asked == [ENCODE_NAME, ASK_NAME]


@pytest.mark.parametrize("error", [FAULT, errors.InvalidInputError("no")])
def test_what_would_fail_again_is_not_asked_again(
    error: errors.OrganSegError, open_calls: Open
) -> None:
    fakes = [KeepingTransport(), KeepingTransport()]
    scan = opened(open_calls(*fakes))
    fakes[0].failure = error
    with pytest.raises(type(error)):
        scan.call("ask", QUESTION)
    assert fakes[0].asked == [ENCODE_NAME, ASK_NAME]
    assert fakes[1].asked == []


def test_opening_goes_by_a_server_that_fails(open_calls: Open) -> None:
    down, up = KeepingTransport(failure=UNREACHABLE), KeepingTransport()
    scan = opened(open_calls(down, up, retry=RetryPolicy(first_wait_s=1e6, longest_wait_s=1e6)))
    assert scan.client.server == SECOND


# servers that keep no images


def test_a_server_that_keeps_none_is_sent_the_image_with_each_question(open_calls: Open) -> None:
    fake = KeepingTransport(keeps=False)
    calls = open_calls(fake)
    scan = opened(calls)
    assert fake.asked == []
    answers = [scan.call("ask", QUESTION) for _ in range(2)]
    wanted = calls.call("segment", IMAGE, QUESTION)
    assert fake.asked == [ENSEMBLE_NAME] * 3
    for answer in answers:
        np.testing.assert_array_equal(answer.masks, wanted.masks)
    assert scan.client.image_sent is ImageSent.EACH_TIME
    assert (scan.client.times_encoded, scan.client.lifetime_s, scan.client.server) == (
        0,
        None,
        None,
    )
    # Once for the image, not once a question.
    assert fake.calls.count(f"is_ready {ENCODE_NAME}") == 1


def test_a_server_without_room_for_an_image_is_sent_it_with_each_question(
    open_calls: Open,
) -> None:
    refusal = "in ensemble 'organ_seg_encode', NotServedError: wanted to keep the image, no room"
    fake = KeepingTransport(encoding_failure=error_of_status("UNIMPLEMENTED", refusal))
    calls = open_calls(fake)
    scan = opened(calls)
    for _ in range(2):
        assert scan.call("ask", QUESTION).timings.attempts == 1
    assert fake.asked == [ENCODE_NAME, ENSEMBLE_NAME, ENSEMBLE_NAME]
    assert scan.client.image_sent is ImageSent.EACH_TIME
    # There may be room for another.
    fake.encoding_failure = None
    assert opened(calls).client.image_sent is ImageSent.ONCE


def test_servers_that_keep_none_share_the_questions(open_calls: Open) -> None:
    fakes = [KeepingTransport(keeps=False), KeepingTransport(keeps=False)]
    scan = opened(open_calls(*fakes))
    for _ in range(6):
        scan.call("ask", QUESTION)
    assert [fake.asked.count(ENSEMBLE_NAME) for fake in fakes] == [3, 3]


def test_it_finds_the_one_server_that_keeps_images(open_calls: Open) -> None:
    none, keeping = KeepingTransport(keeps=False), KeepingTransport()
    scan = opened(open_calls(none, keeping))
    assert {scan.call("ask", QUESTION).server for _ in range(3)} == {SECOND}
    assert keeping.asked == [ENCODE_NAME, *[ASK_NAME] * 3]


def test_a_server_that_came_to_keep_none_is_sent_the_image_from_then_on(open_calls: Open) -> None:
    fake = KeepingTransport()
    scan = opened(open_calls(fake))
    fake.keeps = False
    assert scan.call("ask", QUESTION).organs[0].name == "gallbladder"
    assert scan.client.image_sent is ImageSent.EACH_TIME
    scan.call("ask", QUESTION)
    assert fake.asked == [ENCODE_NAME, ASK_NAME, ENSEMBLE_NAME, ENSEMBLE_NAME]


def test_whether_images_are_kept_is_among_the_capabilities(open_calls: Open) -> None:
    assert open_calls(KeepingTransport()).call("capabilities").keeps_images
    assert not open_calls(KeepingTransport(keeps=False)).call("capabilities").keeps_images


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
