"""Pictures: the originals of a setting above what every attack made of them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from gradleak.errors import InputError
from gradleak.figures.base import Request, register, wrapped
from gradleak.reconstructions import only_images
from gradleak.records import is_attack
from gradleak.statistics import CELL

CAPTION = (
    "Originals (top rows) and what each attack made of them, in the one order that all metrics use: for each setting "
    "the first images of the first initialisation, never picked by their quality."
)
MOST = 8
"""Images of a setting that are shown at most: the first ones."""

# Inches.
_WIDTH, _LABEL, _GAP, _LINE, _BETWEEN = 6.5, 1.15, 0.03, 0.17, 0.17
_LARGEST, _TALLEST = 0.64, 8.3

_FINE = 160
"""Pixels are repeated until an image has as many a side, so that no viewer smooths them."""

Cell = dict[str, Any]
Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Block:
    """One setting.

    Attributes:
        heading: the setting in words.
        rows: label and images [n, h, w, c] of each row, the originals first.
    """

    heading: str
    rows: list[tuple[str, Pixels]]

    @property
    def width(self) -> float:
        """Width in inches that it may take up."""
        return _LABEL + len(self.rows[0][1]) * (_LARGEST + _GAP)

    @property
    def title(self) -> str:
        """The heading, broken into lines that fit."""
        return wrapped(self.heading, int(17 * self.width))


@register("reconstruction_grid", CAPTION)
def draw(request: Request) -> Figure:
    """Draw a block per setting: the originals, then a row per attack."""
    shelves = _shelves(_blocks(request))
    if not shelves:
        raise InputError(f"figure {request.name}: its experiments have no reconstructed images")
    rows = [max(len(block.rows) for block in shelf) for shelf in shelves]
    headings = [_LINE * max(block.title.count("\n") + 1 for block in shelf) for shelf in shelves]
    edges = sum(headings) + len(shelves) * _BETWEEN
    side = min(_LARGEST, (_TALLEST - edges) / sum(rows) - _GAP)
    height = sum(rows) * (side + _GAP) + edges
    figure = Figure(figsize=(_WIDTH, height))
    top = height
    for shelf, heading, tallest in zip(shelves, headings, rows, strict=True):
        top -= heading + _BETWEEN / 2
        left = 0.0
        for block in shelf:
            _draw(figure, block, left, top, side)
            left += block.width
        top -= tallest * (side + _GAP) + _BETWEEN / 2
    return figure


def _shelves(blocks: list[Block]) -> list[list[Block]]:
    """Put blocks beside each other as long as they fit."""
    shelves: list[list[Block]] = []
    for block in blocks:
        if shelves and sum(each.width for each in (*shelves[-1], block)) <= _WIDTH:
            shelves[-1].append(block)
        else:
            shelves.append([block])
    return shelves


def _draw(figure: Figure, block: Block, left: float, top: float, side: float) -> None:
    """Draw a block below its heading, whose lower left corner is at (left, top): inches from the lower left."""
    width, height = figure.get_size_inches()
    x, y = (left + 0.02) / width, (top + 0.03) / height
    figure.text(x, y, block.title, fontsize=8.5, fontweight="bold", va="bottom", linespacing=1.0)
    for label, images in block.rows:
        top -= side + _GAP
        right = (left + _LABEL - 0.08) / width
        figure.text(right, (top + side / 2) / height, label, fontsize=8, ha="right", va="center")
        for number, image in enumerate(images):
            x = left + _LABEL + number * (side + _GAP)
            axes = figure.add_axes((x / width, top / height, side / width, side / height))
            axes.set_axis_off()
            axes.imshow(_enlarged(image), cmap="gray", vmin=0, vmax=255, interpolation="none")


def _blocks(request: Request) -> list[Block]:
    """Read the archives of the first initialisation of every setting and attack."""
    frame: Any = only_images(request.measured.frame)
    attacked = frame[frame["method"].map(is_attack)]
    found: list[Block] = []
    for cell_values, of_cell in attacked.groupby(list(CELL), sort=False):
        cell: Cell = dict(zip(CELL, cell_values, strict=True))
        rows: list[tuple[str, Pixels]] = []
        truth: Pixels | None = None
        first = ""
        for method, of_method in of_cell.groupby("method", sort=False):
            run = str(of_method.sort_values("model_seed", kind="stable")["run"].iloc[0])
            if run not in request.images and request.draft:
                continue
            originals, guess = _read(request, run, aggregated="@" in cell["distribution"])
            if truth is None:
                truth, first = originals, run
                rows.append(("original", truth[:MOST]))
            if not np.array_equal(truth, originals):
                raise InputError(
                    f"figure {request.name}: runs {first} and {run} are one setting but attacked other images, or in "
                    "another order; delete the older one and run it again"
                )
            rows.append((request.labels.method.get(str(method), str(method)), guess[:MOST]))
        if rows:
            found.append(Block(request.labels.setting(cell), rows))
    return found


def _read(request: Request, run: str, *, aggregated: bool) -> tuple[Pixels, Pixels]:
    """Return originals and reconstructions of a run's clients, or of its aggregates.

    Raises:
        InputError: the archive is missing, is no such archive, or has no images of the kind.
    """
    if run not in request.images:
        raise InputError(f"figure {request.name}: no images of run {run} were given; set draft: true to leave it out")
    path: Path = request.images[run]
    try:
        with np.load(path) as archive:
            truth, guess, client = (archive[name] for name in ("truth", "guess", "client"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (ValueError, KeyError, OSError, BadZipFile) as error:
        raise InputError(f"{path}: is no archive of reconstructed images ({error}); delete it and run again") from error
    chosen = (client < 0) == aggregated
    if truth.shape != guess.shape or truth.ndim != 4 or not chosen.any():
        raise InputError(f"{path}: does not hold the images of the setting; delete it and run again")
    return truth[chosen], guess[chosen]


def _enlarged(image: Pixels) -> Pixels:
    """Repeat pixels; grey images lose their channel axis."""
    factor = max(1, -(-_FINE // image.shape[0]))
    large = image.repeat(factor, axis=0).repeat(factor, axis=1)
    return large[..., 0] if large.shape[-1] == 1 else large
