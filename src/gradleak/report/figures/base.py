"""The input of figure builders, the common style of figures, and figures by name."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import fill
from typing import Any

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gradleak.errors import InputError
from gradleak.plan import catalogue, plugins
from gradleak.records import whole_file
from gradleak.report.summary import Measured
from gradleak.report.tables.base import Labels

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's colours, which colour-blind readers can tell apart; the yellow is too pale for lines."""

MARKERS = ("o", "s", "^", "D", "v", "P", "X")
"""Markers; each line has its own, so that no figure depends on colour alone."""

DPI = 200

WIDTH = 6.5
"""Width of every figure in inches, a little more than that of the text."""

_COLUMNS = 3
"""Largest number of panels, or entries of a legend, side by side."""

_LETTER = 0.058
"""Average width in inches of a letter of 8 pt."""

_STYLE = {
    "font.family": "STIXGeneral",  # ships with matplotlib, so every machine draws the same letters
    "mathtext.fontset": "stix",
    "font.size": 9,
    "axes.labelsize": 9,
    "axes.titlesize": 9.5,
    "legend.fontsize": 8,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.5,
    "axes.axisbelow": True,
    "lines.linewidth": 1.4,
    "lines.markersize": 4.5,
    "legend.frameon": False,
    "pdf.fonttype": 42,
    "svg.hashsalt": "gradleak",
}


@dataclass(frozen=True)
class Request:
    """The input of a builder.

    Attributes:
        measured: the cells of the figure's experiments.
        published: one row per published figure, see :func:`gradleak.report.published.load`.
        labels: names in tables and figures.
        draft: whether to draw what exists instead of refusing missing cells.
        name: the figure's name in the configuration, for messages.
        images: run id -> its archive of images, for kinds that show them.
    """

    measured: Measured
    published: pd.DataFrame
    labels: Labels
    draft: bool
    name: str
    images: Mapping[str, Path] = field(default_factory=dict)

    def named(self, attack: str) -> str:
        """Return the label of an attack."""
        return self.labels.method.get(attack, attack)


def style() -> AbstractContextManager[None]:
    """Apply the style of all figures, whatever the user's matplotlibrc."""
    parameters: Any = {**matplotlib.rcParamsDefault, "backend": "agg", **_STYLE}
    return matplotlib.rc_context(parameters)


def build(
    kind: str,
    frame: pd.DataFrame,
    published: pd.DataFrame,
    labels: Labels,
    *,
    images: Mapping[str, Path] | None = None,
    draft: bool = False,
    name: str | None = None,
) -> Figure:
    """Draw a figure.

    Args:
        kind: name of the figure in the catalogue.
        frame: rows of its experiments, each value once (:func:`gradleak.report.summary.read_experiments`).
        published: the result of :func:`gradleak.report.published.load`.
        labels: names in tables and figures.
        images: run id -> its archive of images, for figures that show them.
        draft: draw what exists instead of refusing missing cells.
        name: the figure's name in messages (default: ``kind``).

    Raises:
        InputError: an unknown figure, or a required cell is missing and this is not a draft.
    """
    draw = catalogue.load("figures", kind)
    with style(), plugins.guarded("figures", kind, f"figure {name or kind}"):
        drawn: object = draw(Request(Measured(frame), published, labels, draft, name or kind, images or {}))
    if not isinstance(drawn, Figure):
        raise InputError(f"figure {name or kind}: its builder returns {type(drawn).__name__}; return a Figure")
    return drawn


def wrapped(setting: str, width: int) -> str:
    """Break a setting into lines of at most ``width`` characters: at commas, and within longer parts at spaces.

    A longer word is not broken.
    """
    parts = setting.split(", ")
    together = ", ".join(part.replace(" ", "\u00a0") if len(part) < width else part for part in parts)
    return fill(together, max(1, width), break_long_words=False, break_on_hyphens=False)


def grid(number: int, height: float, *, extra: float = 0.9) -> tuple[Figure, list[Axes], int]:
    """Return a figure with panels of a height in inches, at most three side by side; the panels; their columns."""
    columns = min(_COLUMNS, number)
    rows = -(-number // columns)
    figure = Figure(figsize=(WIDTH, extra + height * rows), layout="constrained")
    panels = figure.subplots(rows, columns, sharey=True, squeeze=False).ravel().tolist()
    for axes in panels[number:]:
        axes.set_axis_off()
    return figure, panels[:number], columns


def set_title(axes: Axes, setting: str, columns: int) -> None:
    """Write a setting above one of ``columns`` panels side by side, in lines that fit its width."""
    axes.set_title(wrapped(setting, int((WIDTH - 0.6) / columns / _LETTER) - 1), fontsize=8)


def add_legend(figure: Figure, handles: Sequence[Any]) -> None:
    """Put a legend below a figure, in as many columns as its longest label allows."""
    longest = max(len(str(handle.get_label())) for handle in handles)
    columns = max(1, min(_COLUMNS, len(handles), int(WIDTH / (0.55 + _LETTER * longest))))
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, columnspacing=1.6)


def save(figure: Figure, pdf: Path, png: Path) -> None:
    """Write a figure as PDF and PNG (200 dpi), each atomically; equal figures give equal bytes."""
    undated = {"Creator": None, "Producer": None, "CreationDate": None}
    with style():
        with whole_file(pdf) as temporary:
            figure.savefig(temporary, format="pdf", metadata=undated)
        with whole_file(png) as temporary:
            figure.savefig(temporary, format="png", dpi=DPI, metadata={"Software": None})
