"""The verb `explain`: an answer in words, streamed, for the verdict that `segment` gave."""

from __future__ import annotations

from dataclasses import dataclass, replace

from organseg.contract import EXPLAIN_NAME, MOST_TOKENS, Finish
from organseg.errors import ContractError, InvalidInputError, NotServedError, ServerFaultError
from organseg_client.core.attempts import Attempt
from organseg_client.core.effects import Steps, ask_ready, give
from organseg_client.core.segment import segment
from organseg_client.core.session import Session
from organseg_client.core.streaming import stream_responses
from organseg_client.deadline import Deadline
from organseg_client.outcome import SegmentRequest
from organseg_client.request import build_explanation_request, encode_question, new_request_id
from organseg_client.result import SegmentationResult
from organseg_client.tensors import FINISH, TEXT
from organseg_client.transport import InferenceRequest, InferenceResponse

__all__ = ["Piece", "explain"]


@dataclass(frozen=True)
class Piece:
    """What one response adds."""

    text: str
    """The text; never empty."""
    finish: Finish | None
    """Why the words ended, in the last piece; None before."""


def explain(
    session: Session,
    asked: SegmentRequest,
    result: SegmentationResult | None,
    max_tokens: int | None,
    deadline_s: float | None,
) -> Steps[None]:
    """Steps that give the `SegmentationResult` that is explained, then each `Piece`.

    Raises `InvalidInputError` at once for arguments that cannot be used.
    """
    if max_tokens is not None and (
        type(max_tokens) is not int or not 1 <= max_tokens <= MOST_TOKENS
    ):
        raise InvalidInputError(
            f"wanted 1 to {MOST_TOKENS} tokens at most, got {max_tokens!r}; leave it out for the "
            "server's own limit"
        )
    deadline = session.deadline(deadline_s)
    session.require_open()
    question = encode_question(asked.question)
    asked = replace(asked, request_id=new_request_id(asked.request_id))
    return _explain(session, asked, question, result, max_tokens, deadline)


def _explain(
    session: Session,
    asked: SegmentRequest,
    question: bytes,
    result: SegmentationResult | None,
    max_tokens: int | None,
    deadline: Deadline,
) -> Steps[None]:
    if result is None:
        result = yield from segment(session, asked, deadline.remaining_s())
    explained = result
    yield from give(explained)

    def build(seconds: float) -> InferenceRequest:
        assert asked.request_id is not None
        return build_explanation_request(
            explained, question, max_tokens, seconds, request_id=asked.request_id
        )

    ends: list[Finish] = []

    def read(response: InferenceResponse) -> Piece:
        piece = _piece(response)
        ends.extend([piece.finish] if piece.finish else [])
        return piece

    yield from stream_responses(session, deadline, build, read=read, before=_require_served)
    if not ends:
        raise ServerFaultError(
            "wanted an explanation to its last line, the server ended the stream before; ask again"
        )


def _require_served(attempt: Attempt, seconds: float) -> Steps[None]:
    """Raises `NotServedError` where the server's release has no model that explains."""
    if not (yield from ask_ready(attempt.server.index, EXPLAIN_NAME, seconds)):
        raise NotServedError(
            f"wanted the model {EXPLAIN_NAME!r} to explain an answer, the server's release leaves "
            "it out; serve one that was exported with --explanations include, or ask `segment`, "
            "whose result has the verdict and the reason"
        )


def _piece(response: InferenceResponse) -> Piece:
    try:
        text, word = (response.outputs[tensor.name].item() for tensor in (TEXT, FINISH))
        return Piece(text.decode(), Finish(word.decode()) if word else None)
    except (KeyError, ValueError, AttributeError) as error:
        raise ContractError(
            f"wanted {TEXT.name} and {FINISH.name} of the contract in a piece of an explanation, "
            "got others; use a client and a server of the same release"
        ) from error
