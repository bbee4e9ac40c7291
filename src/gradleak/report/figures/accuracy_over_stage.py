"""Accuracies of label restoration over the training of the victim, with the victim's own accuracy on a second axis."""

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from gradleak.errors import InputError
from gradleak.records import VICTIM
from gradleak.report.figures.base import Request, add_legend
from gradleak.report.figures.panels import Series, attacks_of, cells_of, panels
from gradleak.report.settings import without

_GREY = "#555555"

Cell = dict[str, Any]


def unit(cells: list[Cell]) -> str | None:
    """Return the unit of training stages, ``iter`` or ``epoch``; None if no victim is trained.

    Raises:
        InputError: both units occur, which one axis cannot show.
    """
    units = {cell["stage_unit"] for cell in cells if cell["stage_unit"]}
    if len(units) > 1:
        raise InputError("one figure over stages cannot show both iterations and epochs; make one figure for each")
    return next(iter(units), None)


def draw(request: Request) -> Figure:
    """Draw one panel per accuracy, one line per attack and victim that has a trained stage."""
    attacks = attacks_of(request)
    cells = cells_of(request, attacks)
    counted = unit(cells)
    groups: dict[tuple[Any, ...], list[tuple[float, Cell]]] = {}
    for cell in cells:
        key = without(cell, "stage")
        groups.setdefault(key, []).append((float(cell["stage_number"]), cell))
    lines = [
        Series(request.labels.setting(points[0][1], without=("stage",)), sorted(points, key=lambda point: point[0]))
        for points in groups.values()
        if len(points) > 1
    ]
    if not lines:
        raise InputError(f"figure {request.name}: no victim of its experiments has more than one stage")
    what = {"iter": "Training iterations", "epoch": "Training epochs", None: "Training"}[counted]
    figure = panels(request, attacks, lines, what, ("training_stage", "trained_models"))
    for axes in list(figure.axes):
        _victims(axes, request, lines, last=axes is figure.axes[2])
    legend = figure.legends[0]
    handles = [*legend.legend_handles, Line2D([], [], color=_GREY, linestyle="--", label="victim's accuracy")]
    legend.remove()
    add_legend(figure, [handle for handle in handles if handle is not None])
    return figure


def _victims(axes: Axes, request: Request, lines: list[Series], *, last: bool) -> None:
    """Draw each victim's accuracy on a second axis, labelled at the last panel only."""
    right = axes.twinx()
    right.set_ylim(axes.get_ylim())
    right.grid(visible=False)
    for line in lines:
        trained = [(place, cell) for place, cell in line.points if cell["stage_unit"]]
        heights = [request.measured.value(cell, VICTIM, "accuracy").mean for _, cell in trained]
        right.plot([place for place, _ in trained], heights, color=_GREY, linestyle="--", linewidth=1.0)
    if last:
        right.spines["right"].set_visible(True)
        right.set_ylabel("Victim's accuracy")
    else:
        right.tick_params(right=False, labelright=False)
