"""The losses: right where the answer is known by hand."""

from __future__ import annotations

import math

import pytest
import torch

from organseg.training.losses import (
    answer_loss,
    attention_loss,
    box_loss,
    dice_loss,
    dice_of_classes,
    distillation_loss,
    gap_loss,
    generalised_iou,
    level_loss,
    mask_cross_entropy,
    quality_loss,
    tissue_loss,
)
from organseg.training.targets import chosen_masks, covered_cells, place_targets


def halves(side: int = 8) -> torch.Tensor:
    masks = torch.zeros(1, 1, side, side)
    masks[..., : side // 2] = 1.0
    return masks


def test_a_perfect_mask_costs_nothing_and_an_opposite_one_everything():
    masks, weights = halves(), torch.ones(1, 1)
    logits = (masks - 0.5) * 80
    assert dice_loss(logits, masks, weights) < 1e-3
    assert mask_cross_entropy(logits, masks, weights) < 1e-3
    assert dice_loss(-logits, masks, weights) > 0.95
    assert mask_cross_entropy(-logits, masks, weights) > 10


def test_an_organ_of_weight_zero_costs_nothing():
    masks = halves()
    assert dice_loss(-(masks - 0.5) * 80, masks, torch.zeros(1, 1)) == 0.0


def test_predicted_quality_is_compared_with_the_drawn_masks_own_overlap():
    masks = halves()
    logits = torch.ones_like(masks)  # The whole image: an IoU of one half.
    assert quality_loss(torch.full((1, 1), 0.5), logits, masks, torch.ones(1, 1)) < 1e-6
    wrong = quality_loss(torch.zeros(1, 1), logits, masks, torch.ones(1, 1))
    assert wrong == pytest.approx(0.25)


def test_the_answer_loss_is_cross_entropy_over_cosines_by_temperature():
    similarity = torch.zeros(1, 14)
    similarity[0, 3] = 0.7
    asked = torch.zeros(1, 14, dtype=torch.bool)
    asked[0, 3] = True
    expected = math.log(math.exp(0.7 / 0.1) + 13) - 0.7 / 0.1
    assert answer_loss(similarity, asked, 0.1) == pytest.approx(expected, abs=1e-5)


def test_two_right_answers_are_best_where_both_are_equally_near():
    asked = torch.zeros(1, 14, dtype=torch.bool)
    asked[0, [2, 5]] = True
    both, one = torch.zeros(1, 14), torch.zeros(1, 14)
    both[0, [2, 5]] = 0.8
    one[0, 2] = 0.8
    assert answer_loss(both, asked, 0.07) < answer_loss(one, asked, 0.07)


def test_generalised_iou_is_one_for_equal_boxes_and_negative_for_distant_ones():
    box = torch.tensor([[0.1, 0.1, 0.3, 0.3]])
    far = torch.tensor([[0.7, 0.7, 0.9, 0.9]])
    assert generalised_iou(box, box).item() == pytest.approx(1.0)
    assert generalised_iou(box, far).item() == pytest.approx(-(0.64 - 0.08) / 0.64, abs=1e-5)
    assert box_loss(box, box, torch.ones(1)) == pytest.approx(0.0, abs=1e-5)
    assert box_loss(far, box, torch.ones(1)) > 2.0


def test_distillation_costs_nothing_in_the_encoders_own_direction():
    vectors = torch.nn.functional.normalize(torch.randn(4, 16), dim=-1)
    assert distillation_loss(3.0 * vectors, vectors) == pytest.approx(0.0, abs=1e-5)
    assert distillation_loss(-vectors, vectors) == pytest.approx(2.0, abs=1e-5)


def test_boxes_lie_on_the_pixel_edges_of_what_is_shown():
    labels = torch.zeros(1, 32, 64, dtype=torch.uint8)
    labels[0, 8:16, 16:48] = 4
    labels[0, 0, 0] = 9  # One pixel is no organ.
    places = place_targets(labels)
    assert places.present[0].nonzero()[:, 0].tolist() == [3]
    assert places.boxes[0, 3].tolist() == [0.25, 0.25, 0.75, 0.5]
    assert not places.boxes[0, 8].any()


def test_chosen_masks_hold_the_share_of_each_coarse_pixel():
    labels = torch.zeros(1, 4, 4, dtype=torch.uint8)
    labels[0, 0, 0] = 7
    masks = chosen_masks(labels, torch.tensor([[7, 1]]), 2)
    assert masks[0, 0].tolist() == [[0.25, 0.0], [0.0, 0.0]]
    assert not masks[0, 1].any()


def test_claims_cost_little_where_the_organ_is_and_much_elsewhere():
    masks = torch.zeros(2, 13, 8, 8)
    masks[0, 0, :4] = 1.0
    present = masks.flatten(2).any(dim=-1)
    right = (masks - 0.5) * 30
    assert attention_loss(right, masks, present) < 0.01
    false_claim = right.clone()
    false_claim[1, 5] = 15.0
    assert attention_loss(false_claim, masks, present) > 1.0
    assert attention_loss(-right, masks, present) > 10.0


def test_unknown_tissues_and_levels_do_not_count():
    logits, known = torch.zeros(2, 5, 4, 4), torch.zeros(2, 4, 4, dtype=torch.long)
    assert tissue_loss(logits, known) == 0.0
    known[1] = 3
    assert tissue_loss(logits, known) == pytest.approx(math.log(5))
    levels = torch.tensor([0.0, 1.0])
    assert level_loss(levels, torch.tensor([math.nan, 1.0])) == 0.0
    assert level_loss(levels, torch.tensor([math.nan, 3.0])) == pytest.approx(1.95)


def test_a_text_without_an_embedding_is_not_distilled():
    vectors, targets = torch.eye(2), torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    assert distillation_loss(vectors, targets) == pytest.approx(0.0, abs=1e-6)
    assert distillation_loss(vectors.flip(0), targets) == pytest.approx(1.0)


def test_covered_cells_are_shares():
    labels = torch.zeros(1, 8, 8, dtype=torch.uint8)
    labels[0, 2:5, 2:6] = 3
    cells = covered_cells(labels, 4)
    assert cells.shape == (1, 13, 4, 4)
    assert cells[0, 2].tolist()[1] == [0.0, 1.0, 1.0, 0.0]
    assert cells[0, 2].tolist()[2] == [0.0, 0.5, 0.5, 0.0]
    assert cells.sum() == 3.0


def test_no_text_costs_nothing_and_still_has_a_gradient_path():
    similarity = torch.zeros(0, 14, requires_grad=True)
    loss = answer_loss(similarity, torch.zeros(0, 14, dtype=torch.bool), 0.1)
    loss.backward()
    assert loss == 0.0


def test_the_gap_loss_wants_asked_organs_near_the_nearest_and_others_far_behind():
    asked = torch.zeros(1, 14, dtype=torch.bool)
    asked[0, [3, 7]] = True
    told_apart, one_lost, one_too_many = torch.zeros(3, 1, 14)
    told_apart[0, [3, 7]] = 0.8
    one_lost[0, 3], one_lost[0, 7] = 0.8, 0.5
    one_too_many[0, [3, 7, 9]] = 0.8
    assert gap_loss(told_apart, asked) < 0.1
    assert gap_loss(one_lost, asked) > 3.0
    assert gap_loss(one_too_many, asked) > 3.0


def test_the_gap_of_a_question_that_asks_for_no_organ_does_not_count():
    asked = torch.zeros(1, 14, dtype=torch.bool)
    asked[0, 13] = True
    assert gap_loss(torch.rand(1, 14), asked) == 0.0


def test_dice_of_classes_leaves_out_the_background_and_what_is_not_shown():
    classes = torch.zeros(1, 4, 4, dtype=torch.int64)
    classes[0, :2] = 2
    logits = torch.full((1, 4, 4, 4), -40.0)
    logits[:, 2, :2] = 40.0
    # Class 3 is claimed where the background is: an organ that is not shown.
    logits[:, 3, 2:] = 40.0
    assert dice_of_classes(logits, classes) < 1e-3
