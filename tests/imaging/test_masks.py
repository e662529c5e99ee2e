from __future__ import annotations

import time

import numpy as np
import pytest

from organseg.imaging.masks import box_of_mask, postprocess_mask


def _smooth_logits(side: int, seed: int) -> np.ndarray:
    """Blobs of logits between about -8 and 8, as a decoder draws."""
    rows, columns = np.mgrid[:side, :side] / side
    generator = np.random.default_rng(seed)
    field = np.zeros((side, side))
    for _ in range(6):
        phase, frequency = generator.uniform(0, 6, 2), generator.uniform(2, 14, 2)
        field += np.sin(rows * frequency[0] + phase[0]) * np.cos(columns * frequency[1] + phase[1])
    return (field * 3).astype(np.float32)


@pytest.mark.parametrize("size_hw", [(256, 256), (512, 512), (300, 411), (1000, 640)])
@pytest.mark.parametrize("seed", [0, 1])
def test_enlarging_equals_torchs_bilinear_interpolation(size_hw, seed):
    torch = pytest.importorskip("torch")
    logits = _smooth_logits(256, seed)
    probabilities = torch.nn.functional.interpolate(
        torch.sigmoid(torch.from_numpy(logits))[None, None],
        size_hw,
        mode="bilinear",
        align_corners=False,
    )[0, 0].numpy()
    mask = postprocess_mask(logits, size_hw)
    assert mask.shape == size_hw
    assert mask.dtype == np.bool_
    assert 0.05 < mask.mean() < 0.95
    # Both sum four float32 products: only a probability within a few ulp of 0.5 may differ.
    decided = np.abs(probabilities - 0.5) > 1e-5
    assert decided.mean() > 0.999
    assert np.array_equal(mask[decided], (probabilities > 0.5)[decided])


def test_shrinking_averages_where_skipping_would_alias():
    # Fine stripes, three quarters of them outside: every pixel of the image is mostly outside.
    logits = np.full((256, 256), -9.0, dtype=np.float32)
    logits[:, ::4] = 9.0
    assert not postprocess_mask(logits, (64, 64)).any()
    assert postprocess_mask(-logits, (64, 64)).all()


def test_a_half_precision_mask_is_the_mask_of_its_values():
    logits = _smooth_logits(64, 3).astype(np.float16)
    single = postprocess_mask(logits.astype(np.float32), (100, 90))
    assert np.array_equal(postprocess_mask(logits, (100, 90)), single)


def test_extreme_and_infinite_logits_are_plain_answers():
    logits = np.full((16, 16), -np.inf, dtype=np.float32)
    logits[:, 8:] = 1e30
    mask = postprocess_mask(logits, (16, 16))
    assert mask[:, 8:].all()
    assert not mask[:, :8].any()


def test_logits_of_exactly_zero_are_outside():
    assert not postprocess_mask(np.zeros((16, 16), dtype=np.float32), (32, 32)).any()


def test_a_nan_blanks_the_whole_mask():
    logits = np.full((16, 16), 9.0, dtype=np.float32)
    assert postprocess_mask(logits, (20, 20)).all()
    logits[3, 3] = np.nan
    mask = postprocess_mask(logits, (20, 20))
    assert mask.shape == (20, 20)
    assert not mask.any()


def test_thirteen_masks_of_512_pixels_take_less_than_60_milliseconds():
    logits = [_smooth_logits(256, seed) for seed in range(13)]
    durations = []
    for _ in range(5):
        # The process's own time: other work on the machine does not count.
        start = time.process_time()
        for each in logits:
            postprocess_mask(each, (512, 512))
        durations.append(time.process_time() - start)
    assert min(durations) < 0.060


def test_a_box_holds_exactly_its_mask_in_pixel_edges():
    mask = np.zeros((9, 12), dtype=bool)
    mask[2, 3] = True
    box = box_of_mask(mask)
    assert box.dtype == np.float32
    assert box.tolist() == [3, 2, 4, 3]
    mask[7, 10] = True
    assert box_of_mask(mask).tolist() == [3, 2, 11, 8]


def test_the_box_of_everything_is_the_image_and_of_nothing_zeros():
    assert box_of_mask(np.ones((9, 12), dtype=bool)).tolist() == [0, 0, 12, 9]
    assert box_of_mask(np.zeros((9, 12), dtype=bool)).tolist() == [0, 0, 0, 0]
