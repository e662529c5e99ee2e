"""Explanations on the real server: text as it comes, neighbours, refusals, and stopping."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from constructed import BLANK_PICTURE, PICTURES, QUESTIONS
from organseg.contract import EXPLAIN_NAME, MOST_TOKENS, Finish, Verdict
from organseg.errors import ContractError, InvalidInputError
from organseg.networks.answer_text import Finding, answer_closing, answer_opening
from organseg.organs import organ_by_id
from organseg_client import GrpcTransport, InferenceRequest, OrganSegClient, SegmentationResult
from organseg_client.request import build_explanation_request

pytestmark = pytest.mark.server

QUESTION = "Which organ stores bile?"


@pytest.fixture(scope="module")
def client(server_address: str) -> Iterator[OrganSegClient]:
    with OrganSegClient(server_address, deadline_s=240) as client:
        yield client


def findings(result: SegmentationResult) -> tuple[Finding, ...]:
    return tuple(
        Finding(organ_by_id(organ.id), organ.verdict, tuple(box))
        for organ, box in zip(result.organs, result.boxes.tolist(), strict=True)
    )


@pytest.mark.parametrize("question", QUESTIONS)
def test_every_verdict_is_written_out_as_segment_gave_it(client, question):
    explanation = client.explain(PICTURES[1], question, max_tokens=4)
    pieces = list(explanation)
    given = findings(explanation.result)
    assert pieces[0] == answer_opening(given)
    assert pieces[-1] == f"\n{answer_closing(given)}"
    assert 2 < len(pieces) <= 6
    assert explanation.finish is Finish.TOKEN_LIMIT


def test_equal_questions_get_equal_words(client):
    result = client.segment(PICTURES[0], QUESTION)
    texts = {
        "".join(client.explain(PICTURES[0], QUESTION, result=result, max_tokens=6))
        for _ in range(2)
    }
    assert len(texts) == 1


def test_a_blank_picture_is_explained_as_absent(client):
    explanation = client.explain(BLANK_PICTURE, QUESTION, max_tokens=2)
    assert explanation.result.verdict is Verdict.ABSENT_IN_IMAGE
    assert "The image does not show the gallbladder." in "".join(explanation)


def test_explanations_asked_at_once_each_get_their_own(server_address, client):
    questions = list(QUESTIONS)[:4]
    alone = ["".join(client.explain(PICTURES[0], each, max_tokens=5)) for each in questions]

    def ask(question: str) -> str:
        with OrganSegClient(server_address, deadline_s=240) as own:
            return "".join(own.explain(PICTURES[0], question, max_tokens=5))

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(ask, questions)) == alone


def explanation_request(result: SegmentationResult, **changed) -> InferenceRequest:
    request = build_explanation_request(result, QUESTION.encode(), 3, 240, request_id="7")
    return InferenceRequest(
        request.model_name,
        {**request.inputs, **changed.pop("inputs", {})},
        request.outputs,
        {**request.parameters, **changed},
        request.request_id,
        request.deadline_s,
    )


def test_a_bad_request_fails_alone_and_the_next_is_answered(client, server_address):
    result = client.segment(PICTURES[0], QUESTION)
    transport = GrpcTransport(server_address)
    too_many = explanation_request(result)
    too_many.inputs["MAX_TOKENS"][:] = MOST_TOKENS + 1
    with pytest.raises(InvalidInputError, match="MAX_TOKENS"):
        list(transport.stream(too_many))
    with pytest.raises(ContractError):
        list(transport.stream(explanation_request(result, contract_version="other")))
    assert len(list(transport.stream(explanation_request(result)))) > 2
    transport.close()


def test_a_stream_that_is_closed_is_not_written_to_its_end(client):
    result = client.segment(PICTURES[0], QUESTION)
    # The weights are there, so the time of a few words is theirs alone.
    list(client.explain(PICTURES[0], QUESTION, result=result, max_tokens=1))
    began = time.monotonic()
    few = 12
    words = "".join(client.explain(PICTURES[0], QUESTION, result=result, max_tokens=few))
    seconds_of_all = (time.monotonic() - began) * MOST_TOKENS / few
    assert words
    with client.explain(PICTURES[0], QUESTION, result=result, max_tokens=MOST_TOKENS) as long:
        next(long)
        next(long)
    assert long.finish is None
    # Requests are worked on one after another: this one waits until the stopped one is over.
    began = time.monotonic()
    list(client.explain(PICTURES[0], QUESTION, result=result, max_tokens=1))
    assert time.monotonic() - began < seconds_of_all / 3


def test_the_models_folder_holds_the_base_weights_alone(release: Path):
    files = {path.name for path in (release / "models" / EXPLAIN_NAME / "1").glob("*.*")}
    assert files == {"model.py", "base_weights.safetensors"}
