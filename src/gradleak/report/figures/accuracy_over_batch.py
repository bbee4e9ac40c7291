"""Accuracies of label restoration over the batch size."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from gradleak.report.figures.base import Request
from gradleak.report.figures.panels import Series, attacks_of, cells_of, panels
from gradleak.report.settings import without

Cell = dict[str, Any]


def series(cells: list[Cell]) -> list[list[Cell]]:
    """Group settings that differ only in batch size, ascending, in order of first appearance.

    Settings with a single batch size are left out, unless there are no others.
    """
    groups: dict[tuple[Any, ...], list[Cell]] = {}
    for cell in cells:
        groups.setdefault(without(cell, "batch_size"), []).append(cell)
    lines = [sorted(group, key=lambda cell: cell["batch_size"]) for group in groups.values()]
    return [line for line in lines if len(line) > 1] or lines


def draw(request: Request) -> Figure:
    """Draw one panel per accuracy, one line per attack, victim and data set."""
    attacks = attacks_of(request)
    lines = series(cells_of(request, attacks))
    shown = [
        Series(request.labels.setting(cells[0], without=("batch_size",)), [(float(c["batch_size"]), c) for c in cells])
        for cells in lines
    ]
    figure = panels(request, attacks, shown, "Batch size B", ("batch_size_and_depth",))
    scale_by_batch(figure, lines)
    return figure


def scale_by_batch(figure: Figure, lines: list[list[Cell]]) -> None:
    """Give every panel a logarithmic axis over the batch sizes of some settings."""
    sizes = sorted({cell["batch_size"] for cells in lines for cell in cells})
    for axes in figure.axes:
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_locator(FixedLocator(_ticks(sizes)))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0f}")


def _ticks(sizes: list[int]) -> list[float]:
    """Return powers of two over the range, at most eight of them."""
    exponents = np.arange(np.floor(np.log2(sizes[0])), np.ceil(np.log2(sizes[-1])) + 1)
    return [float(2**exponent) for exponent in exponents[:: max(1, -(-len(exponents) // 8))]]
