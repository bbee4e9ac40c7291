"""Pictures in rows: shared code of figures of images."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from gradleak.errors import DAMAGED_ARCHIVE, InputError
from gradleak.report.figures.base import Request, wrapped

# Inches. _LETTER is the average width of a letter in a label.
_WIDTH, _GAP, _LINE, _BETWEEN, _LETTER = 6.5, 0.03, 0.17, 0.17, 0.056
_LARGEST, _SMALLEST, _TALLEST = 0.64, 0.12, 8.3

_FINE = 160
"""Pixels are repeated until an image has this many per side, so that no viewer smooths them."""

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Block:
    """One setting.

    Attributes:
        heading: the setting in words.
        rows: label and images [n, h, w, c] of each row.
        columns: titles of the columns, if any.
    """

    heading: str
    rows: list[tuple[str, Pixels]]
    columns: tuple[str, ...] = ()

    @property
    def label(self) -> float:
        """Width in inches of the row labels."""
        return 0.12 + _LETTER * max(len(label) for label, _ in self.rows)

    def width(self, side: float) -> float:
        """Width in inches with images of a given side."""
        return self.label + max(len(images) for _, images in self.rows) * (side + _GAP)

    def title(self, side: float) -> str:
        """The heading, broken into lines that fit."""
        return wrapped(self.heading, int(15 * self.width(side)))

    def above(self, side: float) -> float:
        """Height in inches of the text above the images."""
        return _LINE * (self.title(side).count("\n") + 1 + bool(self.columns))


def drawn(blocks: list[Block]) -> Figure:
    """Draw blocks of pictures as large as fits on a page, side by side where possible, else below each other."""
    side = _LARGEST
    shelves = _shelves(blocks, side)
    while side > _SMALLEST and (_height(shelves, side) > _TALLEST or _too_wide(blocks, side)):
        side -= 0.01
        shelves = _shelves(blocks, side)
    height = _height(shelves, side)
    figure = Figure(figsize=(_WIDTH, height))
    top = height
    for shelf in shelves:
        top -= _BETWEEN / 2
        heading = max(block.above(side) for block in shelf)
        left = 0.0
        for block in shelf:
            _draw(figure, block, left, top - heading, side)
            left += block.width(side) + _BETWEEN
        top -= _tall(shelf, side) + _BETWEEN / 2
    return figure


def _too_wide(blocks: list[Block], side: float) -> bool:
    return any(block.width(side) > _WIDTH for block in blocks)


def _height(shelves: list[list[Block]], side: float) -> float:
    """Height in inches of all shelves."""
    return sum(_tall(shelf, side) + _BETWEEN for shelf in shelves)


def _tall(shelf: list[Block], side: float) -> float:
    """Height in inches of a shelf, whose images are aligned at the top."""
    return max(block.above(side) for block in shelf) + max(len(block.rows) for block in shelf) * (side + _GAP)


def _shelves(blocks: list[Block], side: float) -> list[list[Block]]:
    """Place blocks side by side as long as they fit."""
    shelves: list[list[Block]] = []
    for block in blocks:
        if shelves and sum(each.width(side) + _BETWEEN for each in shelves[-1]) + block.width(side) <= _WIDTH:
            shelves[-1].append(block)
        else:
            shelves.append([block])
    return shelves


def _draw(figure: Figure, block: Block, left: float, top: float, side: float) -> None:
    """Draw a block below its heading, whose lower left corner is at (left, top) in inches from the lower left."""
    width, height = figure.get_size_inches()
    above = _LINE if block.columns else 0.0
    x, y = (left + 0.02) / width, (top + 0.03 + above) / height
    figure.text(x, y, block.title(side), fontsize=8.5, fontweight="bold", va="bottom", linespacing=1.0)
    for number, column in enumerate(block.columns):
        x = (left + block.label + number * (side + _GAP) + side / 2) / width
        figure.text(x, (top + 0.02) / height, column, fontsize=min(7.5, 18 * side), ha="center", va="bottom")
    for label, images in block.rows:
        top -= side + _GAP
        right = (left + block.label - 0.08) / width
        figure.text(right, (top + side / 2) / height, label, fontsize=8, ha="right", va="center")
        for number, image in enumerate(images):
            x = left + block.label + number * (side + _GAP)
            axes = figure.add_axes((x / width, top / height, side / width, side / height))
            axes.set_axis_off()
            axes.imshow(_enlarged(image), cmap="gray", vmin=0, vmax=255, interpolation="none")


def read_archive(request: Request, run: str, names: Sequence[str]) -> dict[str, NDArray[Any]]:
    """Return arrays of a run's archive of images, see :func:`gradleak.runs.image_output.write_arrays`.

    Raises:
        InputError: the archive is missing, or not such an archive.
    """
    if run not in request.images:
        raise InputError(f"figure {request.name}: no images of run {run} were given; set draft: true to leave it out")
    path = request.images[run]
    try:
        with path.open("rb") as file, np.load(file) as archive:
            return {name: archive[name] for name in names}
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except DAMAGED_ARCHIVE as error:
        raise InputError(
            f"{path}: not an archive of reconstructed images ({error}); delete it and run again"
        ) from error


def _enlarged(image: Pixels) -> Pixels:
    """Repeat pixels; grey images lose their channel axis."""
    factor = max(1, -(-_FINE // image.shape[0]))
    large = image.repeat(factor, axis=0).repeat(factor, axis=1)
    return large[..., 0] if large.shape[-1] == 1 else large
