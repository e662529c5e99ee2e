"""A release in half precision is accepted by what users would feel."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import onnx
import pytest

from constructed import PICTURES, constructed_checkpoint
from export.__main__ import main
from export.acceptance import QUESTIONS, Acceptance, accept, require_acceptance
from export.parity import Parity, cpu_sessions, require_parity
from export.precision import Precision
from export.progress import Progress
from export.release import _is_below_bar, write_release
from organseg.contract import TINY, Platform
from organseg.errors import ReleaseError
from organseg.networks.stages import graph_modules
from organseg.serving.manifest import SCHEMA_VERSION, verify_release

ALIKE = Acceptance(requests=96, other_verdicts=0, masks=45, least_dice=0.995, mean_dice=0.999)
OTHER_MASKS = Acceptance(requests=96, other_verdicts=0, masks=45, least_dice=0.9, mean_dice=0.999)
TOO_FEW = Acceptance(requests=96, other_verdicts=0, masks=9, least_dice=1.0, mean_dice=1.0)
OTHER_VERDICTS = Acceptance(requests=96, other_verdicts=1, masks=44, least_dice=1.0, mean_dice=1.0)


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    folder = tmp_path_factory.mktemp("samples")
    (folder / "slice.png").write_bytes(PICTURES[0])
    (folder / "slice.labels.png").write_bytes(b"no picture: never opened")
    return folder


@pytest.fixture(scope="module")
def sessions(release):
    names = graph_modules(constructed_checkpoint().organ_seg)
    models = release / "models"
    return cpu_sessions(
        {name: (models / name / "1" / "model.onnx", Precision.FP32) for name in names}
    )


class Changed:
    """A session whose outputs are changed on their way out."""

    def __init__(self, session, change):
        self._session, self._change = session, change
        self.get_inputs = session.get_inputs

    def run(self, names, feed):
        return self._change(self._session.run(names, feed))


def ask(sessions, samples):
    checkpoint = constructed_checkpoint()
    return accept(checkpoint.organ_seg, sessions, checkpoint.cache.thresholds, samples=samples)


def test_float32_graphs_answer_as_torch_does(sessions, samples):
    found = ask(sessions, samples)
    assert found.requests == len(QUESTIONS)
    assert found.other_verdicts == 0
    assert found.masks > 0
    # Untrained masks are specks: a pixel or two of a hundred.
    assert found.mean_dice > 0.97


def test_other_organs_are_seen(sessions, samples):
    def turned(outputs):
        return [np.roll(outputs[0], 1, axis=1), *outputs[1:]]

    found = ask({**sessions, "extractors": Changed(sessions["extractors"], turned)}, samples)
    assert found.other_verdicts > 0
    assert not found.holds


def test_other_masks_are_seen(sessions, samples):
    def inverted(outputs):
        return [-outputs[0], *outputs[1:]]

    found = ask({**sessions, "mask_decoder": Changed(sessions["mask_decoder"], inverted)}, samples)
    assert found.other_verdicts == 0
    assert found.least_dice < 0.5
    assert not found.holds


def test_a_mask_where_the_other_side_draws_none_is_seen(sessions, samples):
    def nothing(outputs):
        return [np.full_like(outputs[0], -9.0), *outputs[1:]]

    def everything(outputs):
        return [np.full_like(outputs[0], 9.0), *outputs[1:]]

    decoder = sessions["mask_decoder"]
    blank = ask({**sessions, "mask_decoder": Changed(decoder, nothing)}, samples)
    full = ask({**sessions, "mask_decoder": Changed(decoder, everything)}, samples)
    assert blank.least_dice == 0.0
    assert full.masks >= blank.masks > 0


def test_a_folder_without_slices_is_refused(sessions, tmp_path):
    with pytest.raises(ReleaseError, match="found none"):
        ask(sessions, tmp_path)


def parity(precision: str, difference: float) -> Parity:
    return Parity(
        graph="image_encoder",
        batch=1,
        precision=precision,
        max_difference=difference,
        relative_difference=difference,
        verdicts_identical=None,
    )


@pytest.mark.parametrize("found", [OTHER_MASKS, OTHER_VERDICTS, TOO_FEW])
def test_what_users_would_notice_is_not_released_unless_they_want_it(found):
    with pytest.raises(ReleaseError, match="nothing was released"):
        require_acceptance(found)
    with pytest.raises(ReleaseError, match="--accept-below-bar"):
        _is_below_bar(lambda: require_acceptance(found), allowed=False)
    assert _is_below_bar(lambda: require_acceptance(found), allowed=True) is True


def test_a_graph_that_is_off_is_below_the_bar_and_another_is_not():
    assert _is_below_bar(lambda: require_acceptance(ALIKE), allowed=False) is False
    fine = parity("fp16", 1e-3)
    assert _is_below_bar(lambda: require_parity([fine]), allowed=False) is False
    for off in (parity("fp32", 1e-3), parity("bf16", 0.5), parity("fp16", float("nan"))):
        with pytest.raises(ReleaseError, match="image_encoder at batch 1"):
            require_parity([fine, off])


def test_a_cpu_platform_takes_float32_alone(tmp_path):
    with pytest.raises(ReleaseError, match="leave --precision out"):
        write_release(
            SimpleNamespace(),
            TINY,
            Platform.PYTHON,
            tmp_path / "release",
            replace=False,
            progress=Progress(quiet=True),
            precision=Precision.BF16,
        )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_the_shipped_weights_are_released_in_half_precision(tmp_path, precision):
    out = tmp_path / "release"
    # These weights in bfloat16 move one mask of 45 to a Dice of 0.987.
    halves = ["--precision", precision, "--language-model", "fp16"]
    assert main(["--platform", "onnxruntime", *halves, "--out", str(out)]) == 0
    manifest = verify_release(out)
    assert (manifest.precision, manifest.below_bar) == (precision, False)
    found = Acceptance(**manifest.acceptance)
    assert found.holds
    assert found.masks >= 20
    encoder = onnx.load(str(out / "models" / "image_encoder" / "1" / "model.onnx"))
    assert {entry.key: entry.value for entry in encoder.metadata_props}["precision"] == precision
    worst = {record["graph"]: record["precision"] for record in manifest.parity}
    assert worst["image_encoder"] == precision
    assert json.loads((out / "manifest.json").read_text())["schema"] == SCHEMA_VERSION
