"""A plot as SVG that lies inside a page: its colours are the page's, its names its own.

Matplotlib writes colours as numbers. The plots draw in the stand-ins below, which become the
page's CSS variables, so that one drawing is read on a light and on a dark ground.
"""

from __future__ import annotations

import html
import io
import re
from contextlib import AbstractContextManager
from typing import Any

import matplotlib
from matplotlib.figure import Figure

INK = "#010203"
"""Lines and letters."""
MUTED = "#010204"
"""The grid, axes and what stands back."""
SERIES = ("#010211", "#010212", "#010213", "#010214", "#010215", "#010216")
"""What is told apart; each has a marker of its own too, for those who see no colours."""
MARKERS = ("o", "s", "^", "D", "v", "P")

_VARIABLES = {
    INK: "--ink",
    MUTED: "--muted",
    **{color: f"--series-{place}" for place, color in enumerate(SERIES, 1)},
}
_SETTINGS: dict[Any, Any] = {
    # Letters stay letters: small, searchable, read aloud.
    "svg.fonttype": "none",
    # The same record gives the same bytes.
    "svg.hashsalt": "organseg",
    "font.family": "sans-serif",
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": MUTED,
    "grid.alpha": 0.35,
    "grid.linewidth": 0.6,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "hatch.color": INK,
    "hatch.linewidth": 0.4,
}


def new_figure(width_inches: float, height_inches: float) -> Figure:
    """An empty figure; what is added to it is to be drawn within `plot_style`."""
    return Figure(figsize=(width_inches, height_inches), layout="constrained")


def plot_style() -> AbstractContextManager[None]:
    """The settings under which the plots are drawn and written."""
    return matplotlib.rc_context(_SETTINGS)


def inline_svg(figure: Figure, name: str, title: str, alt: str) -> str:
    """The figure as one `<svg>` element, with its title and description inside.

    Args:
        figure: drawn in the colours of this module.
        name: starts every id in it, so that two drawings in one page share none.
        title: what is seen, in a few words.
        alt: what is to be seen in it.
    """
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    drawing = buffer.getvalue()
    # HTML needs no XML head, namespace or metadata, and its plain `href` does.
    drawing = drawing[drawing.index("<svg") :]
    drawing = re.sub(r"<metadata>.*?</metadata>", "", drawing, flags=re.DOTALL)
    box = re.search(r'viewBox="([^"]*)"', drawing)
    body = drawing[drawing.index(">") + 1 : drawing.rindex("</svg>")].replace("xlink:href", "href")
    body = re.sub(r'\bid="', f'id="{name}-', body)
    body = re.sub(r'(href="#|url\(#)', rf"\g<1>{name}-", body)
    for color, variable in _VARIABLES.items():
        body = body.replace(color, f"var({variable})")
    return (
        f'<svg viewBox="{box[1] if box else ""}" role="img" '
        f'aria-labelledby="{name}-title {name}-alt">'
        f'<title id="{name}-title">{html.escape(title)}</title>'
        f'<desc id="{name}-alt">{html.escape(alt)}</desc>{body}</svg>'
    )
