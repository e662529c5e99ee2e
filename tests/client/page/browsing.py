"""The page as a person uses it in a browser, and what the pixels on its stage show."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from organseg.organs import organ_by_name

# Software rendering on a busy machine takes its time.
PATIENCE_MS = 180_000
# A mask's outline is drawn in the organ's own colour; interpolation bends it a little.
_COLOUR_TOLERANCE = 16


@dataclass
class Browser:
    """One tab with the page."""

    tab: Any
    """Playwright's page."""

    def visit(self, url: str) -> None:
        self.tab.goto(url)
        self.tab.wait_for_selector("html[data-ready]", timeout=PATIENCE_MS)

    def open(self, *paths: Path) -> None:
        """Chooses files in the picker and waits until the image is there."""
        with self.tab.expect_response(lambda answer: "image.nii" in answer.url):
            self.tab.set_input_files("#pick-files", [str(path) for path in paths])
        self.tab.wait_for_selector("#busy", state="hidden", timeout=PATIENCE_MS)
        self.tab.wait_for_selector("#question:enabled", timeout=PATIENCE_MS)

    def turn_to(self, slice_number: int) -> None:
        """Moves the slider to a slice, 1 at the feet."""
        self.tab.evaluate(
            "n => { const s = document.getElementById('slice'); s.value = n;"
            " s.dispatchEvent(new Event('input')); }",
            slice_number,
        )

    def ask(self, question: str) -> str:
        """Asks with the keyboard and waits for the card of the answer; gives its verdict."""
        asked = self.tab.locator("#history-list li").count()
        self.tab.fill("#question", question)
        self.tab.press("#question", "Enter")
        self.tab.locator("#history-list li").nth(asked).wait_for(timeout=PATIENCE_MS)
        return self.verdict

    @property
    def verdict(self) -> str:
        return str(self.tab.get_attribute("#answer", "data-verdict"))

    @property
    def card(self) -> str:
        return str(self.tab.inner_text("#answer"))

    def stage(self) -> np.ndarray:
        """The stage as it is seen, without boxes, uint8 [H, W, 3]."""
        shown = self.tab.is_checked("#show-boxes")
        self.tab.set_checked("#show-boxes", False)
        picture = self.tab.locator("#canvas").screenshot(timeout=PATIENCE_MS)
        self.tab.set_checked("#show-boxes", shown)
        return np.asarray(Image.open(io.BytesIO(picture)).convert("RGB"))

    def coloured(self, organ: str) -> np.ndarray:
        """Where the stage has an organ's own colour, bool [H, W]."""
        wanted = np.array(organ_by_name(organ).color_rgb, dtype=np.int16)
        away = np.abs(self.stage().astype(np.int16) - wanted).max(axis=-1)
        return away <= _COLOUR_TOLERANCE


def box_of(mask: np.ndarray) -> np.ndarray:
    """x1 y1 x2 y2 of a mask, pixel edges."""
    rows, columns = np.nonzero(mask)
    return np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
