"""What a peer is sent, and what becomes of what it answers."""

from __future__ import annotations

import email
import email.policy
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from benchmarks.load.http_target import HttpTarget, decode, form
from benchmarks.workload import Question
from organseg.errors import (
    InvalidInputError,
    OrganSegError,
    ServerBusyError,
    ServerFaultError,
    ServerUnreachableError,
)

if TYPE_CHECKING:
    from http_peer import Peer

QUESTION = Question(b"\x89PNG \r\n bytes", "Where is the liver?")


def test_the_form_has_image_and_question_as_a_mail_parser_reads_them() -> None:
    head = b'Content-Type: multipart/form-data; boundary="abc"\r\n\r\n'
    message = email.message_from_bytes(head + form(QUESTION, "abc"), policy=email.policy.HTTP)
    parts = {
        part.get_param("name", header="content-disposition"): part.get_payload(decode=True)
        for part in message.walk()
        if not part.is_multipart()
    }
    assert parts == {"question": QUESTION.text.encode(), "image": QUESTION.image}


def test_masks_are_decoded_and_the_connection_is_kept(make_peer: Callable[..., Peer]) -> None:
    peer = make_peer()
    target = HttpTarget(peer.address, 10.0)
    target.ask(QUESTION)
    target.ask(QUESTION)
    target.close()
    assert peer.connections == 1
    document, masks = decode(peer.answer)
    assert document["verdicts"] == ["segmented"]
    assert [mask.shape for mask in masks] == [(4, 4)]


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (503, ServerBusyError),
        (429, ServerBusyError),
        (500, ServerFaultError),
        (422, InvalidInputError),
    ],
)
def test_a_status_is_the_error_that_the_client_would_raise(
    status: int, error: type[OrganSegError], make_peer: Callable[..., Peer]
) -> None:
    target = HttpTarget(make_peer((status, 200)).address, 10.0)
    with pytest.raises(error, match=str(status)):
        target.ask(QUESTION)
    target.ask(QUESTION)
    target.close()


def test_an_answer_of_another_kind_is_a_fault_of_the_server(make_peer: Callable[..., Peer]) -> None:
    target = HttpTarget(make_peer(answer=b"<html>").address, 10.0)
    with pytest.raises(ServerFaultError, match="base64"):
        target.ask(QUESTION)
    target.close()


def test_nobody_at_the_address_is_said_at_once(make_peer: Callable[..., Peer]) -> None:
    peer = make_peer()
    peer.shutdown()
    peer.server_close()
    with pytest.raises(ServerUnreachableError):
        HttpTarget(peer.address, 10.0)
