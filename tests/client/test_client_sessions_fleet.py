"""An open image of both clients, on several fakes: which of them is sent the image, and asked."""

from __future__ import annotations

from collections import deque

import numpy as np
import pytest
from client_fakes import Gate
from keeping_server import FIRST, SECOND, KeepingTransport, opened
from scenarios import BUSY, DEAD, FAULT, IMAGE, QUESTION, UNREACHABLE, Open

from organseg import errors
from organseg.contract import ASK_NAME, ENCODE_NAME, ENSEMBLE_NAME
from organseg_client import ImageSent, RetryPolicy
from organseg_client.status import error_of_status

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
