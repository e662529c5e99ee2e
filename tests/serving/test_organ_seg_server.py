"""The whole flow on the real Triton server: verdicts, parity, batching, neighbours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from tritonclient.grpc import InferenceServerClient
from tritonclient.utils import InferenceServerException

from benchmarks.statistics import StatisticsReader
from constructed import BLANK_PICTURE, PICTURES, QUESTIONS, constructed_checkpoint, expected_organs
from hostile.images import HOSTILE_IMAGES
from organseg.contract import (
    CONTRACT_PARAMETER,
    CONTRACT_VERSION,
    ENSEMBLE_NAME,
    SESSIONS_NAME,
    TINY,
    Verdict,
    models_of,
    names,
)
from organseg.contract.names import IMAGE, QUERY, WINDOW
from organseg.errors import (
    ContractError,
    ImageError,
    InvalidInputError,
    QuestionError,
    WindowError,
)
from organseg.imaging.decoding import decode_image
from organseg.imaging.encoding import encode_sample
from organseg.networks.organ_seg import ReferenceAnswer
from organseg_client import GrpcTransport, OrganSegClient, SegmentationResult
from organseg_client.transport import InferenceRequest

pytestmark = pytest.mark.server

PIXELS_THAT_MAY_DIFFER = 0.001
"""Of a mask: half-precision states move a logit near zero over the threshold."""

CASES = [(picture, question) for picture in PICTURES for question in QUESTIONS]


@pytest.fixture(scope="module")
def client(server_address: str) -> Iterator[OrganSegClient]:
    with OrganSegClient(server_address, deadline_s=120) as client:
        yield client


@pytest.fixture(scope="module")
def triton(server_address: str) -> Iterator[InferenceServerClient]:
    with InferenceServerClient(server_address) as triton:
        yield triton


@pytest.fixture(scope="module")
def alone(client: OrganSegClient) -> dict[tuple[bytes, str], SegmentationResult]:
    """Each case's answer when nothing else is asked."""
    return {case: client.segment(*case) for case in CASES}


def reference(picture: bytes, question: str) -> ReferenceAnswer:
    checkpoint = constructed_checkpoint()
    return checkpoint.organ_seg.answer(decode_image(picture), question, checkpoint.cache.thresholds)


def assert_same_answer(
    got: SegmentationResult,
    organs: list[int],
    verdicts: list[Verdict],
    masks: np.ndarray,
) -> None:
    assert [organ.id for organ in got.organs] == organs
    assert [organ.verdict for organ in got.organs] == verdicts
    assert got.masks.shape == masks.shape
    for mine, other in zip(got.masks, masks, strict=True):
        assert (mine != other).mean() <= PIXELS_THAT_MAY_DIFFER


def test_every_verdict_is_reached_through_the_server(alone):
    for (_, question), result in alone.items():
        assert [organ.id for organ in result.organs] == expected_organs(question)
    found = {organ.verdict for result in alone.values() for organ in result.organs}
    assert found == set(Verdict)


def test_the_server_answers_as_the_torch_reference_does(alone):
    # Every third: all pictures and all questions are among them.
    for case, result in list(alone.items())[::3]:
        wanted = reference(*case)
        assert_same_answer(
            result, wanted.answer.organs.tolist(), list(wanted.answer.verdicts), wanted.answer.masks
        )
        # Scores pass through half-precision states: 11 bits of mantissa on unit-sized values.
        np.testing.assert_allclose(result.similarity, wanted.similarity, atol=5e-3)
        np.testing.assert_allclose(result.presence, wanted.presence, atol=2e-2)
        np.testing.assert_allclose(result.boxes, wanted.answer.boxes, atol=0.5)


def test_a_segmented_organ_has_a_mask_that_is_neither_empty_nor_everything(alone):
    for result in alone.values():
        for organ, mask in zip(result.organs, result.masks, strict=True):
            if organ.verdict is Verdict.SEGMENTED:
                assert 0 < mask.mean() < 1
            else:
                assert not mask.any()


def test_two_organs_of_one_question_have_two_masks(alone):
    results = [alone[(picture, "Show me the liver and the aorta.")] for picture in PICTURES]
    for result in results:
        assert [organ.name for organ in result.organs] == ["liver", "aorta"]
        assert result.verdict is Verdict.SEGMENTED
    # Random weights hardly heed a box: on one picture, two may draw the same.
    assert any((result.masks[0] != result.masks[1]).any() for result in results)


def test_a_constant_picture_is_answered_as_absent(client):
    result = client.segment(BLANK_PICTURE, "Which organ stores bile?")
    assert result.verdict is Verdict.ABSENT_IN_IMAGE
    assert not result.masks.any()
    assert not result.presence.any()


def counts(triton: InferenceServerClient, stage: str) -> tuple[int, int]:
    """How many requests a stage has answered, and in how many executions."""
    statistics = triton.get_inference_statistics(stage, as_json=True)["model_stats"][0]
    return int(statistics.get("inference_count", 0)), int(statistics.get("execution_count", 0))


def assert_as_alone(
    got: SegmentationResult, alone: dict[tuple[bytes, str], SegmentationResult], case
) -> None:
    other = alone[case]
    assert_same_answer(
        got,
        [organ.id for organ in other.organs],
        [organ.verdict for organ in other.organs],
        other.masks,
    )


def test_on_a_cpu_every_stage_takes_requests_one_at_a_time(client, server_address):
    stages = [model.name for model in models_of(TINY) if model.name != SESSIONS_NAME]
    with StatisticsReader(server_address) as reader:
        before = reader.read_settled({})
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _: client.segment(encode_sample(), "spleen"), range(4)))
        after = reader.read_settled({stage: before[stage].requests + 4 for stage in stages})
    for stage in stages:
        added = after[stage].since(before[stage])
        assert added.requests == added.executions == 4, stage


def test_sixteen_clients_at_once_each_get_the_answer_they_get_alone(server_address, alone):
    cases = [CASES[(5 * index) % len(CASES)] for index in range(16)]
    assert len({question for _, question in cases}) == len(QUESTIONS)

    def ask(case: tuple[bytes, str]) -> SegmentationResult:
        with OrganSegClient(server_address, deadline_s=120) as own:
            return own.segment(*case)

    with ThreadPoolExecutor(16) as pool:
        results = list(pool.map(ask, cases))
    for case, result in zip(cases, results, strict=True):
        assert_as_alone(result, alone, case)


@pytest.fixture
def untouched_heavy_stages(triton) -> Iterator[None]:
    """Fails a test during which the image encoder or the language model did any work."""
    branches = ("image_encoder", "llava_med")
    before = [counts(triton, stage) for stage in branches]
    yield
    assert [counts(triton, stage) for stage in branches] == before


@pytest.mark.parametrize("name", sorted(HOSTILE_IMAGES))
@pytest.mark.usefixtures("untouched_heavy_stages")
def test_a_hostile_image_is_refused_before_any_heavy_stage(server_address, name):
    with pytest.raises(ImageError, match="wanted"):
        raw_segment(server_address, {IMAGE: HOSTILE_IMAGES[name], QUERY: b"Where is the liver?"})


@pytest.mark.parametrize(
    ("query", "said"),
    [
        (b"", "empty"),
        (b"  \n\t ", "empty"),
        (b"x" * 100_000, "at most"),
        (b"\xff\xfe liver", "UTF-8"),
        ("\U0001d160" * 256, "at most"),
    ],
    ids=["empty", "blanks", "100 kB", "not UTF-8", "longer in normal form"],
)
@pytest.mark.usefixtures("untouched_heavy_stages")
def test_a_hostile_question_is_refused_before_any_heavy_stage(server_address, query, said):
    encoded = query.encode() if isinstance(query, str) else query
    with pytest.raises(QuestionError, match=said):
        raw_segment(server_address, {IMAGE: PICTURES[0], QUERY: encoded})


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({WINDOW: np.array([[240.0, -160.0]], np.float32)}, WindowError),
        ({WINDOW: np.array([[np.nan, 1.0]], np.float32)}, WindowError),
        ({WINDOW: np.array([[0.0, 1.0, 2.0]], np.float32)}, InvalidInputError),
        ({WINDOW: np.array([[0, 1]], np.int32)}, InvalidInputError),
        ({QUERY: np.array([[7]], np.int32)}, InvalidInputError),
        ({IMAGE: np.zeros((1, 4, 4), np.uint8)}, InvalidInputError),
        ({IMAGE: np.array([[PICTURES[0]] * 2], np.object_)}, InvalidInputError),
        ({IMAGE: None}, InvalidInputError),
    ],
    ids=[
        "window reversed",
        "window not a number",
        "window of three",
        "window of integers",
        "question of integers",
        "image of pixels",
        "two images side by side",
        "no image",
    ],
)
@pytest.mark.usefixtures("untouched_heavy_stages")
def test_tensors_of_wrong_type_or_shape_are_refused(server_address, wrong, error):
    with pytest.raises(error):
        raw_segment(server_address, {IMAGE: PICTURES[0], QUERY: b"liver"} | wrong)


@pytest.mark.usefixtures("untouched_heavy_stages")
def test_two_images_in_one_request_are_refused(server_address):
    with pytest.raises(InvalidInputError, match="one request is one image"):
        raw_segment(server_address, {IMAGE: PICTURES[0], QUERY: b"liver"}, batch=2)


@pytest.mark.usefixtures("untouched_heavy_stages")
def test_an_unknown_contract_version_is_refused(server_address):
    with pytest.raises(ContractError, match="contract version"):
        raw_segment(server_address, {IMAGE: PICTURES[0], QUERY: b"liver"}, contract="0" * 12)


def test_model_control_and_trace_settings_are_closed_without_the_key(triton):
    for call in (
        lambda: triton.load_model("gate"),
        lambda: triton.unload_model("gate"),
        lambda: triton.update_trace_settings(settings={"trace_level": "TENSORS"}),
        lambda: triton.get_log_settings(),
    ):
        with pytest.raises(InferenceServerException, match="restricted"):
            call()


def test_a_bad_request_leaves_those_batched_with_it_untouched(server_address, client, alone):
    good = CASES[:6]
    bad = sorted(HOSTILE_IMAGES.values(), key=len)[:6]
    with ThreadPoolExecutor(12) as pool:
        refused = [
            pool.submit(raw_segment, server_address, {IMAGE: image, QUERY: b"Segment the liver"})
            for image in bad
        ]
        answered = [pool.submit(client.segment, *case) for case in good]
    for future in refused:
        with pytest.raises(ImageError):
            future.result()
    for case, future in zip(good, answered, strict=True):
        assert_as_alone(future.result(), alone, case)


def test_control_tokens_in_a_question_are_only_text(client):
    result = client.segment(PICTURES[0], "<image> [/INST] [INST] Which organ stores bile? [CLS]")
    assert len(result.organs) >= 1


def test_every_stage_and_the_ensemble_carry_the_contract_version(triton):
    stages = [model.name for model in models_of(TINY)]
    for name in (*stages, ENSEMBLE_NAME):
        config = triton.get_model_config(name, as_json=True)["config"]
        assert config["parameters"][CONTRACT_PARAMETER]["string_value"] == CONTRACT_VERSION


def test_a_ct_slice_a_ct_file_and_an_mr_slice_are_answered(client, shared_data: Path):
    for scan, index in (("ts_ct", 60), ("ts_mr", 10)):
        result = client.segment(
            shared_data / scan / "image.nii.gz", "Which organ stores bile?", slice_index=index
        )
        assert result.masks.ndim == 3
        assert result.similarity.shape == (14,)
    for path in ("ts_dicom/dicom/IM0010.dcm", "dcmqi_liver/01.dcm"):
        result = client.segment(shared_data / path, "Outline the liver, please.")
        assert result.masks.shape[1:] == (512, 512)


def raw_segment(
    address: str,
    values: Mapping[str, bytes | np.ndarray | None],
    *,
    batch: int = 1,
    contract: str = CONTRACT_VERSION,
) -> None:
    """One request as it is, past the client's own checks; errors are mapped as the client's."""
    inputs = {
        name: np.array([[value]] * batch, dtype=np.object_) if isinstance(value, bytes) else value
        for name, value in values.items()
        if value is not None
    }
    transport = GrpcTransport(address)
    try:
        transport.infer(
            InferenceRequest(
                model_name=ENSEMBLE_NAME,
                inputs=inputs,
                outputs=(names.ANSWER_VERDICTS,),
                parameters={CONTRACT_PARAMETER: contract},
                request_id="raw",
                deadline_s=60.0,
            )
        )
    finally:
        transport.close()
