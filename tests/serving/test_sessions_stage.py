"""The stage `sessions` in process: its two ways in, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from organseg.contract import CONTRACT_PARAMETER, TINY, SessionLimits
from organseg.errors import (
    ContractError,
    InvalidInputError,
    NotServedError,
    QuestionError,
    SessionLostError,
)
from organseg.serving.stage import Arrays, StageContext, StageRequest
from organseg.serving.stages.sessions import SessionsStage

LIMITS = SessionLimits(lifetime_s=60, handles=8)


def stage(limits: SessionLimits | None = LIMITS) -> SessionsStage:
    return SessionsStage(StageContext(TINY, Path(), threads=1, sessions=limits))


def opening(**changed: np.ndarray) -> Arrays:
    return {
        "image_key": np.arange(32, dtype=np.uint8)[np.newaxis],
        "image_size_hw": np.array([[160, 200]], dtype=np.int32),
        "image_orientation": np.array([[1, 0, 1]], dtype=np.uint8),
        "image_is_blank": np.array([[False]]),
        "features_kept": np.array([[True]]),
        "prefix_kept": np.array([[True]]),
        "features_failure": np.array([[b""]], dtype=np.object_),
        "states_failure": np.array([[b""]], dtype=np.object_),
        **changed,
    }


def asking(handle: bytes, question: bytes = b"  Where is\tthe liver? ") -> Arrays:
    return {
        "HANDLE": np.array([[handle]], dtype=np.object_),
        "QUERY": np.array([[question]], dtype=np.object_),
    }


def test_asking_gives_back_what_was_opened_and_the_question_in_normal_form():
    sessions = stage()
    opened = sessions.answer(StageRequest(opening()))
    assert opened.keys() == {"HANDLE", "LIFETIME_S"}
    assert opened["LIFETIME_S"].tolist() == [[60]]
    known = sessions.answer(StageRequest(asking(opened["HANDLE"].item())))
    assert known.pop("question").item() == b"Where is the liver?"
    for name, array in known.items():
        np.testing.assert_array_equal(array, opening()[name])
    assert known.keys() == {"image_key", "image_size_hw", "image_orientation", "image_is_blank"}


def test_every_output_is_one_of_the_contracts_with_its_type_and_shape():
    sessions = stage()
    opened = sessions.answer(StageRequest(opening()))
    known = sessions.answer(StageRequest(asking(opened["HANDLE"].item())))
    declared = {tensor.name: tensor for tensor in sessions.model.outputs}
    assert opened.keys() | known.keys() == declared.keys()
    for name, array in {**opened, **known}.items():
        assert array.dtype == declared[name].dtype.numpy
        assert array.shape == (1, *declared[name].shape())


def test_what_is_known_outlives_the_memory_of_the_request_that_opened_it():
    sessions = stage()
    lent = opening()
    handle = sessions.answer(StageRequest(lent))["HANDLE"].item()
    lent["image_key"][:] = 0
    known = sessions.answer(StageRequest(asking(handle)))
    np.testing.assert_array_equal(known["image_key"], opening()["image_key"])


@pytest.mark.parametrize(
    ("said", "stage_name"), [("features_kept", "image_features"), ("prefix_kept", "llava_med")]
)
def test_an_image_that_a_stage_has_not_kept_opens_no_session(said, stage_name):
    sessions = stage()
    with pytest.raises(NotServedError, match=stage_name) as refused:
        sessions.answer(StageRequest(opening(**{said: np.array([[False]])})))
    assert "organ_seg with the image each time" in str(refused.value)
    assert f"ORGANSEG_KEPT_MIB_{stage_name.upper()}" in str(refused.value)


@pytest.mark.parametrize("limits", [SessionLimits(60, 0), SessionLimits(0, 8)])
def test_without_handles_or_lifetime_there_are_no_sessions(limits):
    sessions = stage(limits)
    with pytest.raises(NotServedError, match="started without"):
        sessions.answer(StageRequest(opening()))
    with pytest.raises(SessionLostError):
        sessions.answer(StageRequest(asking(b"guess")))


def test_a_config_without_limits_is_refused():
    with pytest.raises(ContractError, match="export the release again"):
        stage(None)


@pytest.mark.parametrize(
    "inputs",
    [
        {},
        {"HANDLE": asking(b"x")["HANDLE"]},
        {"QUERY": asking(b"x")["QUERY"]},
        {key: value for key, value in opening().items() if key != "prefix_kept"},
        {**opening(), **asking(b"x")},
    ],
    ids=["nothing", "handle alone", "question alone", "half an opening", "both"],
)
def test_a_request_that_neither_opens_nor_asks_is_told_what_either_takes(inputs):
    with pytest.raises(InvalidInputError, match="wanted HANDLE, QUERY to ask, or features_failure"):
        stage().answer(StageRequest(inputs))


def test_a_bad_question_is_refused_before_the_handle_is_looked_at():
    with pytest.raises(QuestionError, match="empty"):
        stage().answer(StageRequest(asking(b"guess", b" \n ")))


def test_a_lost_session_fails_alone_and_its_handle_is_not_in_the_error():
    sessions = stage(SessionLimits(lifetime_s=60, handles=1))
    ended, kept = (sessions.answer(StageRequest(opening()))["HANDLE"].item() for _ in range(2))
    asked = [StageRequest(asking(handle)) for handle in (kept, ended, kept, b"guess")]
    answers = sessions.run(asked)
    assert all(isinstance(answers[index], dict) for index in (0, 2))
    assert all(isinstance(answers[index], SessionLostError) for index in (1, 3))
    # Who guesses is told what one is told whose session has ended.
    assert str(answers[1]) == str(answers[3])
    assert ended.decode() not in str(answers[1])


def test_foreign_contracts_and_batches_are_refused():
    with pytest.raises(ContractError):
        stage().answer(StageRequest(asking(b"x"), {CONTRACT_PARAMETER: "other"}))
    doubled = {name: np.repeat(array, 2, axis=0) for name, array in asking(b"x").items()}
    with pytest.raises(InvalidInputError, match="one request"):
        stage().answer(StageRequest(doubled))
