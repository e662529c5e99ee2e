"""`explain` of both clients, on fakes: what is asked in which order, and what comes of each end."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from client_fakes import AsyncCalls, Calls, FakeTransport
from scenarios import Open

from organseg import errors
from organseg.contract import ENSEMBLE_NAME, EXPLAIN_NAME, MOST_TOKENS, Finish
from organseg_client import InferenceResponse, OrganSegClient

IMAGE = np.add.outer(np.arange(80), np.arange(64)).astype(np.uint8)
QUESTION = "Which organ stores bile?"
LINES = ("Answer: I (gallbladder)\nExplanation: The image shows it.", " It stores bile.", "\nEnd")


def piece(text: str, finish: str = "") -> InferenceResponse:
    texts = {"TEXT": text, "FINISH": finish}
    return InferenceResponse(
        {name: np.array([[value.encode()]], dtype=object) for name, value in texts.items()}, "7"
    )


PIECES = (piece(LINES[0]), piece(LINES[1]), piece(LINES[2], "complete"))


def explaining(*pieces: Any, **options: Any) -> FakeTransport:
    return FakeTransport(explains=True, pieces=pieces or PIECES, **options)


def explain(calls: Calls, **options: Any) -> Any:
    return calls.client.explain(IMAGE, QUESTION, **options)


def test_the_pieces_come_one_by_one_behind_the_result(open_calls: Open) -> None:
    fake = explaining()
    calls = open_calls(fake)
    explanation = explain(calls, request_id="mine", max_tokens=9)
    assert list(calls.each(explanation)) == list(LINES)
    assert explanation.text == "".join(LINES)
    assert explanation.finish is Finish.COMPLETE
    assert explanation.request_id == explanation.result.request_id == "mine"
    asked, streamed = fake.requests
    assert (asked.model_name, streamed.model_name) == (ENSEMBLE_NAME, EXPLAIN_NAME)
    assert streamed.request_id == "mine"
    assert streamed.inputs["MAX_TOKENS"].tolist() == [[9]]


def test_the_request_hands_over_what_segment_was_sent_and_answered(open_calls: Open) -> None:
    fake = explaining()
    calls = open_calls(fake)
    list(calls.each(explain(calls, window=(0, 100))))
    asked, streamed = fake.requests
    for name in ("IMAGE", "QUERY", "WINDOW"):
        np.testing.assert_array_equal(streamed.inputs[name], asked.inputs[name])
    answered = fake.answer(asked).outputs
    for name in ("ORGANS", "VERDICTS", "BOXES"):
        np.testing.assert_array_equal(streamed.inputs[name], answered[name])
        assert streamed.inputs[name].dtype == answered[name].dtype
    assert "MAX_TOKENS" not in streamed.inputs
    assert streamed.outputs == ("TEXT", "FINISH")


def test_a_result_that_is_given_is_not_asked_for_again(open_calls: Open) -> None:
    fake = explaining()
    calls = open_calls(fake)
    result = calls.call("segment", IMAGE, QUESTION)
    explanation = explain(calls, result=result)
    assert list(calls.each(explanation)) == list(LINES)
    assert explanation.result is result
    assert [request.model_name for request in fake.requests] == [ENSEMBLE_NAME, EXPLAIN_NAME]


def test_a_release_without_the_model_is_named_with_what_to_do(open_calls: Open) -> None:
    calls = open_calls(FakeTransport(pieces=PIECES))
    explanation = explain(calls)
    with pytest.raises(errors.NotServedError, match="--explanations include"):
        list(calls.each(explanation))
    assert explanation.result.organs[0].name == "gallbladder"


def test_closing_cancels_the_stream_and_keeps_the_text(open_calls: Open) -> None:
    fake = explaining()
    calls = open_calls(fake)
    explanation = explain(calls)
    pieces = calls.each(explanation)
    assert next(pieces) == LINES[0]
    calls.close(explanation)
    assert "close stream" in fake.calls
    assert list(pieces) == []
    assert explanation.text == LINES[0]
    assert explanation.finish is None


def test_a_stream_that_ends_without_its_last_line_is_a_fault(open_calls: Open) -> None:
    calls = open_calls(explaining(PIECES[0]))
    explanation = explain(calls)
    with pytest.raises(errors.ServerFaultError, match="ended the stream before"):
        list(calls.each(explanation))
    assert explanation.text == LINES[0]


@pytest.mark.parametrize(
    "bad",
    [
        InferenceResponse({"TEXT": np.array([[b"a"]], dtype=object)}, "7"),
        piece("a", "for no reason"),
        InferenceResponse(
            {name: np.array([[b"\xff"]], object) for name in ("TEXT", "FINISH")}, "7"
        ),
        InferenceResponse({name: np.zeros((1, 2)) for name in ("TEXT", "FINISH")}, "7"),
    ],
)
def test_a_piece_that_is_none_of_the_contract_is_refused(bad: Any, open_calls: Open) -> None:
    calls = open_calls(explaining(bad))
    with pytest.raises(errors.ContractError):
        list(calls.each(explain(calls)))


@pytest.mark.parametrize("limit", [0, -1, MOST_TOKENS + 1, 2.5, True, "9"])
def test_a_limit_that_is_none_is_refused_before_anything_is_sent(
    limit: Any, open_calls: Open
) -> None:
    fake = explaining()
    with pytest.raises(errors.InvalidInputError, match="tokens"):
        explain(open_calls(fake), max_tokens=limit)
    assert not fake.requests


def test_an_error_of_segment_is_raised_where_it_is_asked_first() -> None:
    fake = explaining(failure=errors.ImageError("no"))
    client = OrganSegClient("server:8001", transport=fake)
    with pytest.raises(errors.ImageError):
        client.explain(IMAGE, QUESTION)


def test_the_end_of_a_with_block_closes_it() -> None:
    fake = explaining()
    client = OrganSegClient("server:8001", transport=fake)
    with client.explain(IMAGE, QUESTION) as explanation:
        next(explanation)
    assert "close stream" in fake.calls
    assert list(explanation) == []


def test_an_async_explanation_has_its_result_once_it_was_entered_or_awaited() -> None:
    calls = AsyncCalls({"server:8001": explaining()})

    async def run() -> None:
        explanation = calls.client.explain(IMAGE, QUESTION)
        with pytest.raises(errors.InvalidInputError, match="has not"):
            _ = explanation.result
        assert await explanation is explanation
        assert explanation.result.organs
        async with calls.client.explain(IMAGE, QUESTION) as entered:
            assert entered.result.organs
            assert [text async for text in entered] == list(LINES)

    calls.loop.run_until_complete(run())
    calls.end()
