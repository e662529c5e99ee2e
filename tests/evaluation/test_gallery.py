from __future__ import annotations

import base64
import io
import re

import numpy as np
from evaluation_shapes import disk, labels_of
from PIL import Image

from organseg.evaluation.gallery import Gallery, render_overlay
from organseg.evaluation.scores import score_case
from organseg.organs import organ_by_name

LIVER = disk(12, 10, 5)


def page_of(cases, path, **options):
    gallery = Gallery(**options)
    for case in cases:
        gallery.observe(case, score_case(case))
    return gallery.write(path / "gallery.html").read_text()


def shifted(make_case, shift, **sample):
    return make_case((1, "segmented", disk(12, 10 + shift, 5)), slice_index=shift, **sample)


def scores_in(page):
    return [float(score) for score in re.findall(r"Dice ([0-9.]+)", page)]


def test_the_worst_cases_come_first(make_case, tmp_path):
    cases = [shifted(make_case, shift) for shift in (2, 0, 9, 4)]
    cases.append(make_case((3, "segmented", LIVER), asked=(3,)))  # nothing there: 0
    scores = scores_in(page_of(cases, tmp_path))
    assert len(scores) == 5
    assert scores == sorted(scores)
    assert scores[0] == 0.0
    assert scores[-1] == 1.0


def test_only_the_worst_few_of_each_organ_are_kept(make_case, tmp_path):
    cases = [shifted(make_case, shift) for shift in (1, 6, 0, 3, 2, 8)]
    spleen = make_case((3, "absent_in_image", None), asked=(3,))
    page = page_of([*cases, spleen], tmp_path, per_organ=2)
    assert page.count('data-organ="liver"') == 2
    assert page.count('data-organ="spleen"') == 1
    assert "slice 8" in page
    assert "slice 6" in page
    assert "slice 3" not in page


def test_of_equal_scores_the_larger_mistake_is_worse(make_case, tmp_path):
    cases = [
        make_case((3, "segmented", disk(12, 16, radius)), asked=(3,), slice_index=radius)
        for radius in (2, 6, 4)
    ]
    page = page_of(cases, tmp_path, per_organ=2)
    assert re.findall(r"slice (\d+)", page) == ["6", "4"]


def test_the_page_filters_by_organ_and_loads_nothing(make_case, tmp_path):
    outside = make_case((1, "segmented", LIVER), asked=(), question="What is the weather?")
    page = page_of([shifted(make_case, 1), outside], tmp_path)
    assert re.findall(r'<option value="(\w*)">', page) == ["", "liver", "none"]
    assert 'data-organ="none"' in page
    assert "addEventListener" in page
    assert not re.search(r'(src|href)="(?!data:image/png)', page)
    assert "http" not in page


def test_questions_are_escaped(make_case, tmp_path):
    page = page_of([shifted(make_case, 1, question="<script>alert(1)</script>")], tmp_path)
    assert "<script>alert" not in page
    assert "&lt;script&gt;" in page


def test_embedded_overlays_show_prediction_and_truth(make_case, tmp_path):
    case = shifted(make_case, 8)
    page = page_of([case], tmp_path)
    (encoded,) = re.findall(r"base64,([A-Za-z0-9+/=]+)", page)
    raw = base64.b64decode(encoded)
    assert raw == render_overlay(case)
    picture = np.asarray(Image.open(io.BytesIO(raw)))
    # Rows are 2 mm high and columns 1 mm wide: 24 × 32 pixels become 2 × 24 by 32, enlarged.
    enlargement = picture.shape[1] // 32
    assert picture.shape == (24 * 2 * enlargement, 32 * enlargement, 3)

    def at(row, column):
        return picture[int((row + 0.5) * 2 * enlargement), int((column + 0.5) * enlargement)]

    color = np.array(organ_by_name("liver").color_rgb)
    assert np.abs(at(12, 20) - (0.55 * 90 + 0.45 * color)).max() <= 1
    assert (at(2, 2) == 90).all()
    assert (picture == 255).all(axis=2).any()
    edge = picture[int(12.5 * 2 * enlargement), 5 * enlargement]
    assert (edge == 255).all()


def test_several_organs_of_a_query_are_filed_under_each(make_case, tmp_path):
    case = make_case(
        (2, "segmented", disk(8, 6, 3)),
        (13, "absent_in_image", None),
        asked=(2, 13),
        labels=labels_of((2, disk(8, 6, 3)), (13, disk(8, 24, 3))),
    )
    page = page_of([case], tmp_path)
    assert scores_in(page) == [0.0, 1.0]
    assert page.index('data-organ="left_kidney"') < page.index('data-organ="right_kidney"')


def test_a_gallery_without_cases_is_a_page_without_figures(tmp_path):
    page = Gallery().write(tmp_path / "new" / "gallery.html", "Nothing <seen>").read_text()
    assert "<figure" not in page
    assert "Nothing &lt;seen&gt;" in page


def test_another_organ_drawn_for_an_absent_one_is_among_the_worst(make_case, tmp_path):
    cases = [
        make_case((5, "absent_in_image", None), asked=(5,), slice_index=1),
        make_case((1, "segmented", LIVER), asked=(5,), slice_index=2),
        shifted(make_case, 3),
    ]
    page = page_of(cases, tmp_path)
    assert re.findall(r"slice (\d+)", page) == ["2", "3", "1"]
    assert scores_in(page)[0] == 0.0
