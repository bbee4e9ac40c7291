"""PSNR of the reconstructions while the attack runs."""

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from gradleak.errors import InputError
from gradleak.plan.metric_facts import SNAPSHOT
from gradleak.report.figures.base import COLOURS, MARKERS, Request, add_legend, grid, set_title
from gradleak.report.image_rows import Reconstructions, check
from gradleak.report.statistics import applicable


def draw(request: Request) -> Figure:
    """Draw a panel per setting, each with its own axis of iterations, and a line per attack."""
    if not request.draft:
        check(request.measured.frame, f"figure {request.name}")
    pictures = Reconstructions.of(applicable(request.measured.frame))
    snapshots = pictures.snapshots
    cells = [cell for cell in pictures.cells() if any(snapshots(cell, name) for name in pictures.methods(cell))]
    if not cells:
        raise InputError(f"figure {request.name}: no run of its experiments has snapshots")
    figure, panels, columns = grid(len(cells), 2.0)
    # Exact inversion, for example, has no iterations.
    methods = [name for name in pictures.methods() if any(snapshots(cell, name) for cell in cells)]
    for axes, cell in zip(panels, cells, strict=True):
        _panel(axes, request, pictures, cell, methods)
        set_title(axes, request.labels.setting(cell), columns)
    for axes in panels[::columns]:
        axes.set_ylabel("PSNR (dB)")
    handles = [
        Line2D([], [], color=_colour(number), marker=_marker(number), label=request.labels.method.get(name, name))
        for number, name in enumerate(methods)
    ]
    add_legend(figure, handles)
    return figure


def _panel(axes: Axes, request: Request, pictures: Reconstructions, cell: dict[str, Any], methods: list[str]) -> None:
    here = [name for name in pictures.methods(cell) if name in methods]
    for place, method in enumerate(here):
        number = methods.index(method)
        iterations = pictures.snapshots(cell, method)
        means = [pictures.measured.value(cell, method, SNAPSHOT, each).mean for each in iterations]
        every = max(1, len(iterations) // 8)  # more markers would hide the line
        below = len(here) - 1 - place  # wider, so that a coinciding line on top does not hide it
        look = {"linewidth": 1.2 + 1.0 * below, "markersize": 3.5 + 2.0 * below, "markevery": every}
        axes.plot(iterations, means, color=_colour(number), marker=_marker(number), **look)
    axes.set_xlabel("Iteration")
    axes.set_xlim(left=0)


def _colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]


def _marker(number: int) -> str:
    return MARKERS[number % len(MARKERS)]
