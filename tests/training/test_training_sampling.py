"""Batches: seeded, organs evenly, negatives included, never mirrored."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from training_toys import SIDE, STILL, painted_slices, sampler

from organseg.errors import DatasetError
from organseg.training.augment import augment, recolour, resize_grey
from organseg.training.options import AugmentOptions
from organseg.training.sampling import SliceSampler
from organseg.training.targets import place_targets


def test_the_same_chance_draws_the_same_batch():
    slices = SliceSampler(painted_slices(), AugmentOptions())
    first, again, other = (slices.draw(4, np.random.default_rng(seed)) for seed in (5, 5, 6))
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[0], other[0])


def test_slices_that_are_left_as_they_are_come_out_as_they_are():
    slices = painted_slices()
    images, labels = sampler().read([3])
    changed, moved = augment(images, labels.unsqueeze(1), np.random.default_rng(0), STILL)
    assert torch.equal(moved[:, 0], labels)
    grey = images.float()
    stretched = (grey - grey.min()) / (grey.max() - grey.min()) * 255
    assert (changed.float() - stretched).abs().max() <= 1.0
    assert len(slices) == 8


def test_image_and_labels_move_together_and_sides_are_kept():
    options = AugmentOptions(
        gamma=0.0, coarse_share=0.0, contrast_share=0.0, shading=0.0, grain=0.0
    )
    slices = SliceSampler(painted_slices(), options)
    for seed in range(10):
        images, labels, tissues, _ = slices.draw(2, np.random.default_rng(seed))
        places = place_targets(labels)
        assert torch.equal(tissues, labels)  # The toy's tissues are its organs.
        bright = images.float() > 245  # The aorta alone is painted so bright.
        assert (labels[bright] == 5).float().mean() > 0.9
        both = places.present[:, 0] & places.present[:, 2]
        liver, spleen = places.boxes[both, 0], places.boxes[both, 2]
        assert (liver[:, 0] < spleen[:, 0]).all()


def test_each_tissue_gets_a_grey_of_its_own_and_air_keeps_its():
    tissues = torch.zeros(2, 32, 32, dtype=torch.uint8)
    tissues[:, 4:14, 4:28], tissues[:, 18:28, 4:28] = 5, 9
    images = torch.where(tissues == 0, 20, torch.where(tissues == 5, 120, 230)).to(torch.uint8)
    options = AugmentOptions(contrast=0.1, contrast_share=1.0)
    changed = recolour(images, tissues, np.random.default_rng(1), options)
    inside = {
        value: (slice(None), slice(row, row + 4), slice(8, 24))
        for value, row in {5: 7, 9: 21}.items()
    }
    for value, place in inside.items():
        assert (changed[place].flatten(1).float().std(dim=1) == 0).all(), value
    # Two images, two lots; all air is as bright as all other air.
    steps = changed[inside[9]][:, 0, 0].float() - changed[inside[5]][:, 0, 0].float()
    assert steps[0] != steps[1]
    assert (changed[:, 0].float().std(dim=1) == 0).all()


def test_a_share_of_slices_is_recoloured_and_unknown_tissues_change_nothing():
    tissues = torch.ones(400, 4, 4, dtype=torch.uint8)
    tissues[:, :2] = 2
    images = torch.arange(16, dtype=torch.uint8).view(1, 4, 4).repeat(400, 1, 1)
    options = AugmentOptions(contrast_share=0.25)
    changed = recolour(images, tissues, np.random.default_rng(2), options)
    share = (changed != images).flatten(1).any(dim=1).float().mean()
    assert 0.15 < share < 0.35
    unknown = torch.zeros_like(tissues)
    assert torch.equal(recolour(images, unknown, np.random.default_rng(2), options), images)


def test_a_warp_bends_image_and_labels_alike_and_smoothly():
    images, labels = sampler().read([1, 2, 3])
    warped = replace(STILL, warp=0.06)
    changed, moved = augment(images, labels.unsqueeze(1), np.random.default_rng(4), warped)
    assert not torch.equal(moved[:, 0], labels)
    aorta = moved[:, 0] == 5
    assert aorta.any()
    assert (changed[aorta] > 200).float().mean() > 0.8  # The rest are pixels of its border.
    # Bent, not torn: a rectangle is still one piece, and about as large.
    assert 0.5 < (moved[:, 0] > 0).sum() / (labels > 0).sum() < 2.0


def test_shading_and_grain_change_greys_alone_and_leave_air_dark():
    images = torch.zeros(2, SIDE, SIDE, dtype=torch.uint8)
    images[:, 16:48, 16:48] = 200
    labels = (images > 0).to(torch.uint8).unsqueeze(1)
    shaded, kept = augment(images, labels, np.random.default_rng(5), replace(STILL, shading=0.3))
    assert torch.equal(kept, labels)
    assert not shaded[:, :16].any()
    inside = shaded[:, 16:48, 16:48].float()
    assert (inside.flatten(1).std(dim=1) > 1).all()
    assert (inside.diff(dim=-1).abs() < 30).all()  # Smooth.
    grainy, _ = augment(images, labels, np.random.default_rng(6), replace(STILL, grain=0.1))
    assert (grainy[:, 16:48, 16:48].float().diff(dim=-1).abs().mean() > 1).all()


def test_a_constant_picture_stays_legal():
    blank = torch.zeros(1, 64, 64, dtype=torch.uint8)
    images, _ = augment(blank, blank.unsqueeze(1), np.random.default_rng(0), AugmentOptions())
    assert not images.any()
    assert not resize_grey(blank, 32).any()


def test_rows_are_spread_over_the_whole_set():
    assert sampler().spread(3) == [0, 3, 7]
    assert sampler().spread(99) == list(range(8))


def test_a_set_without_organs_is_refused():
    slices = painted_slices()
    empty = replace(slices, labels=np.zeros_like(slices.labels))
    with pytest.raises(DatasetError, match="shows none"):
        SliceSampler(empty, STILL)
