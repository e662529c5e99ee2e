"""The critical path and the overhead, on statistics made by hand."""

from __future__ import annotations

import pytest

from benchmarks.critical_path import critical_path, longest_path
from benchmarks.statistics import ModelTimes
from organseg.contract import SESSIONS_NAME, TINY, models_of

MODELS = [model for model in models_of(TINY) if model.name != SESSIONS_NAME]
ENCODING = ("image_encoder", "image_features")
HEAD, TAIL = ("preprocess",), ("mask_decoder", "postprocess")
LANGUAGE = ("llava_med", "extractors", "gate")


def compute(image_encoder: float, llava_med: float) -> dict[str, float]:
    return {
        "preprocess": 10.0,
        "image_encoder": image_encoder,
        "image_features": 1.0,
        "llava_med": llava_med,
        "extractors": 4.0,
        "gate": 1.0,
        "mask_decoder": 20.0,
        "postprocess": 3.0,
    }


def times(name: str, compute_ms: float) -> ModelTimes:
    return ModelTimes(
        name,
        requests=10,
        executions=10,
        queue_ms=0.5,
        compute_input_ms=0.1 * compute_ms,
        compute_infer_ms=0.7 * compute_ms,
        compute_output_ms=0.2 * compute_ms,
        in_server_ms=compute_ms + 0.5,
    )


def test_the_longer_branch_is_on_the_path() -> None:
    assert longest_path(compute(100, 50), MODELS) == (*HEAD, *ENCODING, *TAIL)
    assert longest_path(compute(50, 100), MODELS) == (*HEAD, *LANGUAGE, *TAIL)


def test_a_branch_is_as_long_as_all_of_its_stages_together() -> None:
    # 97 + 4 + 1 = 102 outlasts 100 + 1, though no single stage does.
    assert longest_path(compute(100, 97), MODELS) == (*HEAD, *LANGUAGE, *TAIL)
    assert longest_path(compute(100, 94), MODELS) == (*HEAD, *ENCODING, *TAIL)


def test_the_overhead_is_what_compute_on_the_path_leaves_of_the_latency() -> None:
    by_name = {name: times(name, ms) for name, ms in compute(100, 50).items()}
    path = critical_path(by_name, MODELS, end_to_end_ms=154.0)
    assert path.hops == 5
    assert path.compute_ms == pytest.approx(10 + 100 + 1 + 20 + 3)
    assert path.queue_ms == pytest.approx(5 * 0.5)
    assert path.overhead_ms == pytest.approx(154 - 134)
    assert path.overhead_per_hop_ms == pytest.approx(4.0)


def test_the_hops_are_the_stages_of_the_longer_branch() -> None:
    by_name = {name: times(name, ms) for name, ms in compute(50, 100).items()}
    path = critical_path(by_name, MODELS, end_to_end_ms=150.0)
    assert path.hops == 6
    assert path.overhead_per_hop_ms == pytest.approx((150 - 138) / 6)


def test_without_the_step_in_front_the_encoder_is_a_branch_by_itself() -> None:
    direct = [model for model in MODELS if model.name != "image_features"]
    assert longest_path(compute(100, 50), direct) == (*HEAD, "image_encoder", *TAIL)


def test_where_every_image_was_known_the_encoder_is_on_no_path() -> None:
    known = [model for model in MODELS if model.name != "image_encoder"]
    assert longest_path(compute(0, 0), known) == (*HEAD, *LANGUAGE, *TAIL)
