"""`llava_med_explain` in process: what it writes, what it refuses, and that it stops when told."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from constructed import PICTURES, constructed_checkpoint
from organseg.contract import (
    CONTRACT_PARAMETER,
    EXPLAIN_NAME,
    MOST_TOKENS,
    TINY,
    Finish,
    Loading,
    Verdict,
    names,
)
from organseg.errors import (
    CheckpointError,
    ContractError,
    ImageError,
    InvalidInputError,
    QuestionError,
    ServerFaultError,
)
from organseg.imaging.preprocess import prepare
from organseg.networks.answer_text import Finding, answer_closing, answer_opening
from organseg.networks.explanation import Explainer
from organseg.networks.lora import base_weights
from organseg.organs import organ_by_id
from organseg.serving.stage import Arrays, StageContext, StageRequest
from organseg.serving.stages.llava_med_explain import (
    BASE_WEIGHTS_FILE,
    TALKS,
    LlavaMedExplainStage,
)

QUESTION = "Which organ stores bile?"
FINDINGS = (Finding(organ_by_id(9), Verdict.SEGMENTED, (10.0, 20.0, 30.0, 40.0)),)
WORDS = 6


@pytest.fixture(scope="module")
def context(release: Path) -> StageContext:
    folder = release / "models" / EXPLAIN_NAME / "1"
    return StageContext(TINY, folder, threads=1, loading=Loading.ON_FIRST_REQUEST)


@pytest.fixture(scope="module")
def stage(context: StageContext) -> LlavaMedExplainStage:
    return LlavaMedExplainStage(context)


def text_tensor(*texts: bytes) -> np.ndarray:
    return np.array([texts], dtype=np.object_)


def a_request(
    findings: tuple[Finding, ...] = FINDINGS, limit: int | None = WORDS, **changed: np.ndarray
) -> StageRequest:
    inputs: Arrays = {
        names.IMAGE: text_tensor(PICTURES[0]),
        names.QUERY: text_tensor(QUESTION.encode()),
        names.ANSWER_ORGANS: np.array([[each.organ.id for each in findings]], dtype=np.int32),
        names.ANSWER_VERDICTS: text_tensor(*(each.verdict.value.encode() for each in findings)),
        names.ANSWER_BOXES: np.array([[each.box_xyxy for each in findings]], dtype=np.float32),
    }
    if limit is not None:
        inputs[names.MAX_TOKENS] = np.array([[limit]], dtype=np.int32)
    return StageRequest(inputs | changed)


def never() -> bool:
    return False


def read(pieces: list[Arrays]) -> tuple[str, list[str]]:
    text = "".join(piece[names.TEXT].item().decode() for piece in pieces)
    return text, [piece[names.FINISH].item().decode() for piece in pieces]


def test_nothing_is_loaded_before_the_first_request(context):
    assert "_explainer" not in vars(LlavaMedExplainStage(context))


def test_the_written_lines_are_the_verdicts_and_the_words_stand_between(stage):
    text, finish = read(list(stage.stream(a_request(), never)))
    opening, closing = answer_opening(FINDINGS), answer_closing(FINDINGS)
    assert text.startswith(f"{opening} ")
    assert text.endswith(f"\n{closing}")
    assert len(text) > len(opening) + len(closing) + 2
    assert text.count("\n") == 2
    assert set(finish[:-1]) == {""}
    assert finish[-1] == Finish.TOKEN_LIMIT.value


def test_every_piece_has_the_contracts_type_and_rank(stage):
    for piece in stage.stream(a_request(limit=1), never):
        for declared in stage.model.outputs:
            assert piece[declared.name].dtype == declared.dtype.numpy
            assert piece[declared.name].shape == (1, *declared.shape())


def test_the_words_are_those_of_the_model_without_its_adapter(stage):
    vision_language = copy.deepcopy(constructed_checkpoint()).organ_seg.vision_language
    prepared = prepare(PICTURES[0], QUESTION.encode(), None, TINY)
    served, _ = read(list(stage.stream(a_request(), never)))
    with vision_language.llava.disable_adapter():
        pieces = Explainer(vision_language, torch.device("cpu")).explain(
            prepared.vlm_pixels, prepared.question, FINDINGS, limit=WORDS
        )
        assert served == "".join(text for text, _ in pieces)


def test_what_the_merge_changed_is_put_back(stage):
    # Words alone do not tell: an untaught model may write the same few with and without adapter.
    before = base_weights(constructed_checkpoint().organ_seg.vision_language.llava)
    list(stage.stream(a_request(limit=1), never))
    loaded = stage._explainer._writer._model.llava.state_dict()
    assert before
    for name, weight in before.items():
        assert torch.equal(loaded[name], weight), name


def test_one_verdict_or_another_is_stated_and_changes_the_words(stage):
    absent = (Finding(organ_by_id(9), Verdict.ABSENT_IN_IMAGE),)
    text, _ = read(list(stage.stream(a_request(absent), never)))
    assert "The image does not show the gallbladder." in text
    assert text.endswith("Segmentation: gallbladder, blank, this image does not show it")


def test_it_looks_at_every_token_whether_to_go_on(stage):
    asked = 0

    def after_three() -> bool:
        nonlocal asked
        asked += 1
        return asked > 3

    pieces = list(stage.stream(a_request(limit=MOST_TOKENS), after_three))
    assert asked == 4
    assert len(pieces) <= 3
    assert names.FINISH in pieces[-1]
    assert pieces[-1][names.FINISH].item() == b""


@pytest.mark.parametrize(
    ("changed", "kind"),
    [
        ({names.IMAGE: text_tensor(b"no image")}, ImageError),
        ({names.QUERY: text_tensor(b"  ")}, QuestionError),
        ({names.ANSWER_VERDICTS: text_tensor(b"maybe")}, InvalidInputError),
        ({names.ANSWER_VERDICTS: text_tensor(b"\xff")}, InvalidInputError),
        ({names.ANSWER_VERDICTS: text_tensor(b"out_of_scope")}, InvalidInputError),
        ({names.ANSWER_VERDICTS: text_tensor(b"segmented", b"segmented")}, InvalidInputError),
        ({names.ANSWER_ORGANS: np.array([[0]], dtype=np.int32)}, InvalidInputError),
        ({names.ANSWER_ORGANS: np.array([[14]], dtype=np.int32)}, InvalidInputError),
        ({names.ANSWER_BOXES: np.full((1, 1, 4), np.nan, np.float32)}, InvalidInputError),
        ({names.MAX_TOKENS: np.array([[0]], dtype=np.int32)}, InvalidInputError),
        ({names.MAX_TOKENS: np.array([[MOST_TOKENS + 1]], dtype=np.int32)}, InvalidInputError),
        ({names.IMAGE: np.array([[b""], [b""]], dtype=np.object_)}, InvalidInputError),
    ],
)
def test_what_is_no_answer_or_no_request_is_refused(stage, changed, kind):
    with pytest.raises(kind):
        list(stage.stream(a_request(**changed), never))


def test_an_organ_twice_and_none_beside_an_organ_are_refused(stage):
    none = Finding(organ_by_id(14), Verdict.OUT_OF_SCOPE)
    for findings in ((*FINDINGS, *FINDINGS), (*FINDINGS, none)):
        with pytest.raises(InvalidInputError):
            list(stage.stream(a_request(findings), never))


def test_a_request_of_another_contract_is_refused(stage):
    foreign = StageRequest(a_request().inputs, {CONTRACT_PARAMETER: "other"})
    with pytest.raises(ContractError):
        list(stage.stream(foreign, never))


def test_weights_that_were_never_taught_to_talk_add_no_words_and_are_not_loaded(context, tmp_path):
    weights = load_file(context.folder / BASE_WEIGHTS_FILE)
    save_file(weights, str(tmp_path / BASE_WEIGHTS_FILE), metadata={TALKS: "false"})
    for loading in Loading:
        mute = LlavaMedExplainStage(StageContext(TINY, tmp_path, 1, loading=loading))
        text, finish = read(list(mute.stream(a_request(), never)))
        assert text == f"{answer_opening(FINDINGS)}\n{answer_closing(FINDINGS)}"
        assert finish == ["", Finish.COMPLETE.value]
        assert "_explainer" not in vars(mute)


def test_weights_that_cannot_be_read_are_told_without_a_path(context, tmp_path):
    models = tmp_path / "models"
    for name in ("llava_med", EXPLAIN_NAME):
        source = context.folder.parent.parent / name / "1"
        (models / name).mkdir(parents=True)
        (models / name / "1").symlink_to(source) if name == "llava_med" else None
    own = models / EXPLAIN_NAME / "1"
    own.mkdir()
    broken = LlavaMedExplainStage(StageContext(TINY, own, 1, loading=Loading.ON_FIRST_REQUEST))
    with pytest.raises(ServerFaultError, match="organseg verify") as failure:
        list(broken.stream(a_request(), never))
    assert str(tmp_path) not in str(failure.value)
    assert isinstance(failure.value.__cause__, CheckpointError)
    assert BASE_WEIGHTS_FILE in str(failure.value.__cause__)
    with pytest.raises(CheckpointError):
        LlavaMedExplainStage(StageContext(TINY, own, 1))
