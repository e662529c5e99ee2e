"""One self-contained HTML page of overlays, worst cases first, to be looked at.

True masks are outlined in white, predicted ones filled in the organ's colour. The page embeds its
images, loads nothing, and filters by organ in a few lines of script.
"""

from __future__ import annotations

import base64
import heapq
import html
import io
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

from organseg.evaluation.cases import Case
from organseg.evaluation.overlap import Mask, MaskCounts
from organseg.evaluation.scores import CaseScores
from organseg.organs import ANSWERS, NONE, organ_by_id

__all__ = ["Gallery", "render_overlay"]

_FILL = 0.45
_SMALLEST_SIDE = 320

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<style>
body {{ font: 14px/1.4 system-ui, sans-serif; margin: 1.5rem; background: #14161a; color: #e6e6e6 }}
main {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(240px, 1fr)); gap: 1rem }}
figure {{ margin: 0; background: #1f232a; border-radius: 6px; overflow: hidden }}
img {{ width: 100%; display: block; image-rendering: pixelated }}
figcaption {{ padding: .5rem .7rem }}
</style></head><body>
<h1>{title}</h1>
<p>Worst first. White outline: truth. Filled: predicted, in the organ's colour.
<label>Organ <select id="organ"><option value="">all</option>{options}</select></label></p>
<main>
{cards}
</main>
<script>
document.getElementById("organ").addEventListener("change", (event) => {{
  for (const card of document.querySelectorAll("figure"))
    card.hidden = event.target.value !== "" && card.dataset.organ !== event.target.value;
}});
</script>
</body></html>
"""


@dataclass(order=True, frozen=True)
class _Card:
    """One overlay; ordered so that the smallest is the one to drop, the best score."""

    badness: float
    """1 − Dice."""
    wrong_pixels: int
    """Pixels in only one of the masks: of equal scores the larger mistake is worse."""
    number: int
    """Minus the order of arrival, so that no two are equal."""
    organ_id: int = field(compare=False)
    """The organ it is filed under; 14 for out-of-scope questions."""
    caption: str = field(compare=False)
    """HTML, already escaped."""
    png: bytes = field(compare=False)
    """The overlay."""


class Gallery:
    """Keeps the worst few cases of each organ while an evaluation runs, and writes the page.

    An organ in the image is ranked by its Dice; an absent one, and an out-of-scope question, by
    whether anything was drawn. Only kept cases are rendered, so memory stays bounded.
    """

    def __init__(self, per_organ: int = 12) -> None:
        self._per_organ = per_organ
        self._kept: dict[int, list[_Card]] = {}
        self._seen = 0

    def observe(self, case: Case, scores: CaseScores) -> None:
        """Looks at a case and keeps its overlay if it is among the worst of an asked organ."""
        ranked = [(organ.organ_id, organ.counts) for organ in scores.organs]
        for organ_id, counts in ranked or [(NONE.id, scores.query)]:
            self._seen += 1
            kept = self._kept.setdefault(organ_id, [])
            rank = (1.0 - counts.dice, counts.union - counts.intersection)
            if len(kept) == self._per_organ and rank <= (kept[0].badness, kept[0].wrong_pixels):
                continue
            card = _Card(
                badness=rank[0],
                wrong_pixels=rank[1],
                number=-self._seen,
                organ_id=organ_id,
                caption=_caption(case, organ_id, counts),
                png=render_overlay(case),
            )
            if len(kept) == self._per_organ:
                heapq.heapreplace(kept, card)
            else:
                heapq.heappush(kept, card)

    def write(self, path: Path, title: str = "Worst cases") -> Path:
        """Writes the page, worst first over all organs, and gives its path."""
        cards = sorted((card for kept in self._kept.values() for card in kept), reverse=True)
        options = "".join(
            f'<option value="{organ.key}">{organ.name}</option>'
            for organ in ANSWERS
            if organ.id in self._kept
        )
        page = _PAGE.format(
            title=html.escape(title),
            options=options,
            cards="\n".join(_figure(card) for card in cards),
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page, encoding="utf-8")
        return path


def render_overlay(case: Case) -> bytes:
    """The case as a PNG: predicted masks filled, true masks outlined, small images enlarged."""
    canvas = np.repeat(case.pixels[:, :, None], 3, axis=2).astype(np.float32)
    prediction = case.prediction
    for organ_id, mask in zip(prediction.organ_ids, prediction.masks, strict=True):
        color = np.array(organ_by_id(organ_id).color_rgb, dtype=np.float32)
        canvas[mask] = (1.0 - _FILL) * canvas[mask] + _FILL * color
    enlargement = max(1, -(-_SMALLEST_SIDE // min(case.pixels.shape)))
    # Rows and columns are as far apart on the page as in the body.
    height, width = case.pixels.shape
    _, row_mm, column_mm = case.spacing_zyx_mm
    size_wh = (
        max(1, round(width * enlargement * max(column_mm / row_mm, 1.0))),
        max(1, round(height * enlargement * max(row_mm / column_mm, 1.0))),
    )
    picture = _resized(Image.fromarray(np.rint(canvas).astype(np.uint8)), size_wh)
    for mask in case.truth_masks:
        picture[_outline(mask, size_wh)] = 255
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def _resized(image: Image.Image, size_wh: tuple[int, int]) -> npt.NDArray[np.uint8]:
    return np.array(image.resize(size_wh, Image.Resampling.NEAREST))


def _outline(mask: Mask, size_wh: tuple[int, int]) -> Mask:
    enlarged = _resized(Image.fromarray(mask.astype(np.uint8)), size_wh) > 0
    outline: Mask = enlarged & ~ndimage.binary_erosion(enlarged)
    return outline


def _caption(case: Case, organ_id: int, counts: MaskCounts) -> str:
    answers = ", ".join(
        f"{organ_by_id(answered).name}: {verdict.replace('_', ' ')}"
        for answered, verdict in zip(
            case.prediction.organ_ids, case.prediction.verdicts, strict=True
        )
    )
    absence = ""
    if organ_id == NONE.id:
        absence = " (out of scope)"
    elif not counts.truth:
        absence = " (not in the image)"
    place = f"patient {case.patient_id}, slice {case.slice_index}"
    lines = (
        f"<b>{organ_by_id(organ_id).name}</b>{absence} Dice {counts.dice:.3f}",
        f"“{html.escape(case.question)}”",
        f"→ {html.escape(answers)}",
        html.escape(place),
    )
    return "<br>".join(lines)


def _figure(card: _Card) -> str:
    image = base64.b64encode(card.png).decode("ascii")
    return (
        f'<figure data-organ="{organ_by_id(card.organ_id).key}">'
        f'<img alt="overlay" src="data:image/png;base64,{image}">'
        f"<figcaption>{card.caption}</figcaption></figure>"
    )
