from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from organseg.errors import ImageError
from organseg.imaging.masks import box_of_mask
from organseg.imaging.overlay import draw_overlay, write_label_png
from organseg.organs import organ_by_id

SIDE = 512


@pytest.fixture
def masks() -> np.ndarray:
    masks = np.zeros((2, SIDE, SIDE), dtype=bool)
    masks[0, 100:200, 50:150] = True
    masks[1, 300:400, 300:420] = True
    return masks


@pytest.fixture
def pixels() -> np.ndarray:
    return np.full((SIDE, SIDE), 100, dtype=np.uint8)


def test_a_mask_is_tinted_with_its_organs_colour_and_the_rest_stays_grey(pixels, masks):
    shown = np.asarray(draw_overlay(pixels, masks, [1, 2]))
    for row, column, organ_id in ((150, 100, 1), (350, 350, 2)):
        tint = shown[row, column].astype(int) - 100
        assert np.array_equal(
            np.sign(tint), np.sign(np.array(organ_by_id(organ_id).color_rgb) - 100)
        )
    assert (shown[10, 10] == 100).all()
    assert (shown[250, 250] == 100).all()


def test_the_outline_has_the_full_colour(pixels, masks):
    shown = np.asarray(draw_overlay(pixels, masks, [1, 2]))
    assert tuple(shown[100, 100]) == organ_by_id(1).color_rgb
    assert tuple(shown[399, 350]) == organ_by_id(2).color_rgb


def test_a_box_is_drawn_around_its_mask_and_a_box_of_zeros_is_not(pixels, masks):
    boxes = np.stack([[40, 90, 160, 210], np.zeros(4)])
    shown = np.asarray(draw_overlay(pixels, masks, [1, 2], boxes))
    assert tuple(shown[90, 100]) == organ_by_id(1).color_rgb
    assert tuple(shown[209, 100]) == organ_by_id(1).color_rgb
    assert tuple(shown[150, 159]) == organ_by_id(1).color_rgb
    assert (shown[0, 0] == 100).all()


def test_a_box_beyond_the_image_is_kept_on_it_and_a_nan_box_left_out(pixels, masks):
    boxes = np.array([[-50, -50, 9999, 9999], [np.nan] * 4])
    shown = np.asarray(draw_overlay(pixels, masks, [1, 2], boxes))
    assert tuple(shown[0, 256]) == organ_by_id(1).color_rgb
    assert tuple(shown[SIDE - 1, 256]) == organ_by_id(1).color_rgb


def test_a_small_organ_is_painted_over_a_large_one(pixels, masks):
    masks[0] = True
    shown = np.asarray(draw_overlay(pixels, masks, [1, 2]))
    alone = np.asarray(draw_overlay(pixels, masks[:1], [1]))
    assert tuple(shown[300, 350]) == organ_by_id(2).color_rgb
    assert tuple(alone[300, 350]) != organ_by_id(2).color_rgb


def test_the_legend_stands_below_the_image_and_grows_with_its_entries(pixels, masks):
    few = draw_overlay(pixels, masks, [1, 2])
    many = draw_overlay(pixels, np.repeat(masks[:1], 13, axis=0), range(1, 14))
    assert few.mode == "RGB"
    assert few.width == many.width == SIDE
    assert SIDE < few.height < many.height


def test_an_empty_mask_has_a_hollow_mark_in_the_legend(pixels, masks):
    color = np.array(organ_by_id(1).color_rgb)
    filled = np.asarray(draw_overlay(pixels, masks[:1], [1]))[SIDE:]
    hollow = np.asarray(draw_overlay(pixels, masks[:1] & False, [1]))[SIDE:]
    count_filled = (filled == color).all(axis=-1).sum()
    count_hollow = (hollow == color).all(axis=-1).sum()
    assert 0 < count_hollow < count_filled


def test_labels_replace_the_names(pixels, masks):
    named = np.asarray(draw_overlay(pixels, masks[:1], [1], labels=["liver"]))
    default = np.asarray(draw_overlay(pixels, masks[:1], [1]))
    other = np.asarray(draw_overlay(pixels, masks[:1], [1], labels=["hepar"]))
    assert np.array_equal(named, default)
    assert not np.array_equal(other, default)


def test_a_small_slice_is_enlarged_by_a_whole_number_with_its_box():
    small = np.full((91, 117), 80, dtype=np.uint8)
    mask = np.zeros((1, 91, 117), dtype=bool)
    mask[0, 30:60, 40:80] = True
    shown = draw_overlay(small, mask, [3], box_of_mask(mask[0])[None])
    assert shown.width == 117 * 5
    assert np.asarray(shown)[30 * 5, 60 * 5].tolist() == list(organ_by_id(3).color_rgb)


def test_no_organs_give_the_plain_image(pixels):
    shown = draw_overlay(pixels, np.zeros((0, SIDE, SIDE), dtype=bool), [])
    assert shown.size == (SIDE, SIDE)
    assert (np.asarray(shown) == 100).all()


def test_the_masks_that_were_passed_in_are_not_changed(pixels, masks):
    before = masks.copy(), pixels.copy()
    draw_overlay(pixels, masks, [1, 2])
    assert np.array_equal(masks, before[0])
    assert np.array_equal(pixels, before[1])


def test_shapes_that_do_not_fit_are_refused(pixels, masks):
    for arguments in (
        (pixels.astype(float), masks, [1, 2]),
        (pixels, masks[:, 1:], [1, 2]),
        (pixels, masks, [1]),
        (pixels, masks, [1, 2], np.zeros((1, 4))),
        (pixels, masks, [1, 2], None, ["liver"]),
    ):
        with pytest.raises(ImageError, match=r"^wanted .+, came .+; .+"):
            draw_overlay(*arguments)


def test_a_label_png_holds_the_organ_ids_and_their_colours(tmp_path, masks):
    masks[0, 300:500, 300:500] = True  # around the second mask: the smaller one wins
    path = tmp_path / "labels.png"
    write_label_png(path, masks, [1, 13])
    with Image.open(path) as image:
        ids = np.asarray(image)
        colors = np.asarray(image.convert("RGB"))
    assert np.array_equal(ids == 13, masks[1])
    assert np.array_equal(ids == 1, masks[0] & ~masks[1])
    assert tuple(colors[150, 100]) == organ_by_id(1).color_rgb
    assert tuple(colors[350, 350]) == organ_by_id(13).color_rgb
    assert tuple(colors[0, 0]) == (0, 0, 0)


def test_a_label_png_wants_one_organ_a_mask(tmp_path, masks):
    with pytest.raises(ImageError, match=r"^wanted .+, came .+; .+"):
        write_label_png(tmp_path / "labels.png", masks, [1])
