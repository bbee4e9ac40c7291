"""iLRG's accuracies over the batch size, beside the published points and the blank answer's score."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, NullLocator

from gradleak.figures.base import COLOURS, MARKERS, Request, register
from gradleak.published import match, stands_for

_PANELS = (("lnacc", "LnAcc (counts)"), ("leacc", "LeAcc (presence)"), ("irec", "IRec (instances)"))
_FLOOR = "floor-blank"
_EXPERIMENTS = ("batch_size_and_depth",)

CAPTION = (
    "iLRG over the batch size. Lines: mean over initialisations. Bands: 95 % prediction interval for one "
    "initialisation. Open markers: published figures at the same setting. Dotted: score of the answer "
    "“no class is present” on the data set of the same shade, 0 for IRec."
)

Cell = dict[str, Any]


def series(cells: list[Cell]) -> list[list[Cell]]:
    """Group settings that differ in batch size alone, ascending, in order of first appearance.

    Settings that were run at one batch size only are left out, unless there is nothing else.
    """
    groups: dict[tuple[Any, ...], list[Cell]] = {}
    for cell in cells:
        key = tuple(value for name, value in cell.items() if name != "batch_size")
        groups.setdefault(key, []).append(cell)
    lines = [sorted(group, key=lambda cell: cell["batch_size"]) for group in groups.values()]
    return [line for line in lines if len(line) > 1] or lines


@register("accuracy_over_batch", CAPTION)
def draw(request: Request) -> Figure:
    """Draw one panel per accuracy, one line per victim and data set."""
    measured = request.measured
    if not request.draft:
        needs = [("ilrg", metric) for metric, _ in _PANELS] + [(_FLOOR, metric) for metric, _ in _PANELS]
        measured.check(needs, f"figure {request.name}")
    lines = series(measured.cells())
    figure = Figure(figsize=(6.5, 2.95), layout="constrained")
    panels: list[Axes] = list(figure.subplots(1, len(_PANELS), sharey=True))
    handles: list[Any] = []
    has_published = False
    for number, cells in enumerate(lines):
        colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
        handles.append(
            Line2D([], [], color=colour, marker=marker, label=request.labels.setting(cells[0], batch_size=False))
        )
        for axes, (metric, _) in zip(panels, _PANELS, strict=True):
            has_published |= _line(axes, request, cells, metric, colour, marker, 4 + 0.1 * number)
    _floors(panels, request, lines)
    sizes = sorted({cell["batch_size"] for cells in lines for cell in cells})
    for axes, (_, title) in zip(panels, _PANELS, strict=True):
        axes.set_title(title)
        axes.set_xlabel("Batch size B")
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_locator(FixedLocator(_ticks(sizes)))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0f}")
        axes.set_ylim(-0.03, 1.04)
    panels[0].set_ylabel("Share")
    handles.append(Patch(facecolor="#777777", alpha=0.22, label="95 % prediction interval"))
    if has_published:
        handles.append(_open_marker("#444444", "o", label="published"))
    handles.append(Line2D([], [], color="#777777", linestyle=":", linewidth=1.1, label="blank answer"))
    figure.legend(handles=handles, loc="outside lower center", ncols=3, columnspacing=1.6)
    return figure


def _line(axes: Axes, request: Request, cells: list[Cell], metric: str, colour: str, marker: str, order: float) -> bool:
    """Draw a line with its band and published points; return whether there are such points."""
    values = [request.measured.value(cell, "ilrg", metric) for cell in cells]
    sizes = [cell["batch_size"] for cell in cells]
    low, high = [value.pi_low for value in values], [value.pi_high for value in values]
    axes.fill_between(sizes, low, high, color=colour, alpha=0.16, linewidth=0, zorder=order - 2)
    axes.plot(sizes, [value.mean for value in values], color=colour, marker=marker, zorder=order)
    points = [
        (cell["batch_size"], value)
        for cell in cells
        if (found := match(request.published, cell, "ilrg", metric, _EXPERIMENTS)).exact
        for value in found.values
    ]
    for size, value in points:
        # Clipping off: a marker at 1.000 is whole.
        point = _open_marker(colour, marker)
        point.set_data([size], [value])
        point.set_zorder(order + 2)
        point.set_clip_on(False)
        axes.add_line(point)
    return bool(points)


def _open_marker(colour: str, marker: str, label: str = "") -> Line2D:
    return Line2D(
        [],
        [],
        color=colour,
        marker=marker,
        markersize=7,
        markerfacecolor="none",
        markeredgewidth=1.1,
        linestyle="none",
        label=label,
    )


def _floors(panels: list[Axes], request: Request, lines: list[list[Cell]]) -> None:
    """Draw the blank answer's score once per data set: it depends on the classes and the batch size alone."""
    shades = ("#777777", "#AAAAAA", "#444444")
    datasets = list(dict.fromkeys(stands_for(cells[0]["dataset"]) for cells in lines))
    for dataset in datasets:
        shade = shades[datasets.index(dataset) % len(shades)]
        points: dict[int, Cell] = {}
        for cells in lines:
            if stands_for(cells[0]["dataset"]) == dataset:
                points |= {cell["batch_size"]: cell for cell in cells}
        for axes, (metric, _) in zip(panels, _PANELS, strict=True):
            heights = [request.measured.value(points[size], _FLOOR, metric).mean for size in sorted(points)]
            axes.plot(sorted(points), heights, color=shade, linestyle=":", linewidth=1.1, zorder=1.5)


def _ticks(sizes: list[int]) -> list[float]:
    """Powers of two over the range, at most eight of them."""
    exponents = np.arange(np.floor(np.log2(sizes[0])), np.ceil(np.log2(sizes[-1])) + 1)
    return [float(2**exponent) for exponent in exponents[:: max(1, -(-len(exponents) // 8))]]
