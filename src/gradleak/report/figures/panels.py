"""Three panels, LnAcc, LeAcc and IRec of iLRG, with published points and the blank answer's score."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from gradleak.errors import InputError
from gradleak.plan.catalogue import stands_for
from gradleak.report.figures.base import COLOURS, MARKERS, WIDTH, Request, add_legend
from gradleak.report.published import match

PANELS = (("lnacc", "LnAcc (counts)"), ("leacc", "LeAcc (presence)"), ("irec", "IRec (instances)"))
FLOOR = "floor-blank"
_SHADES = ("#777777", "#AAAAAA", "#444444")

Cell = dict[str, Any]


@dataclass(frozen=True)
class Series:
    """One line of each panel.

    Attributes:
        label: in the legend.
        points: place on the horizontal axis, and the setting there; ascending.
    """

    label: str
    points: Sequence[tuple[float, Cell]]


def panels(
    request: Request, lines: Sequence[Series], xlabel: str, experiments: tuple[str, ...], *, names: bool = False
) -> Figure:
    """Draw every line in every panel, with a legend below.

    Args:
        request: what the builder got.
        lines: what to draw.
        xlabel: title of the horizontal axes.
        experiments: published experiments that the figure reproduces.
        names: places are names and no scale, so nothing is drawn between them: points with bars in place of lines
            with bands.

    Raises:
        InputError: a cell is missing and this is not a draft, or there are no lines.
    """
    if not request.draft:
        needs = [("ilrg", metric) for metric, _ in PANELS] + [(FLOOR, metric) for metric, _ in PANELS]
        request.measured.check(needs, f"figure {request.name}")
    if not lines:
        raise InputError(f"figure {request.name}: its experiments have no setting on which iLRG could be tried")
    figure = Figure(figsize=(WIDTH, 2.95), layout="constrained")
    handles: list[Any] = []
    has_published = False
    axes_of_panels = list(figure.subplots(1, len(PANELS), sharey=True))
    for number, line in enumerate(lines):
        colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
        handles.append(Line2D([], [], color=colour, marker=marker, label=line.label, ls="none" if names else "-"))
        for axes, (metric, _) in zip(axes_of_panels, PANELS, strict=True):
            has_published |= _line(
                axes, request, line, metric, experiments, colour, marker, 4 + 0.1 * number, names=names
            )
    _floors(axes_of_panels, request, lines)
    for axes, (_, title) in zip(axes_of_panels, PANELS, strict=True):
        axes.set_title(title)
        axes.set_xlabel(xlabel)
        axes.set_ylim(-0.03, 1.04)
    axes_of_panels[0].set_ylabel("Share")
    if not names:
        handles.append(Patch(facecolor="#777777", alpha=0.22, label="95 % prediction interval"))
    if has_published:
        handles.append(_open_marker("#444444", "o", label="published"))
    handles.append(Line2D([], [], color="#777777", linestyle=":", linewidth=1.1, label="blank answer"))
    add_legend(figure, handles)
    return figure


def _line(
    axes: Axes,
    request: Request,
    line: Series,
    metric: str,
    experiments: tuple[str, ...],
    colour: str,
    marker: str,
    order: float,
    *,
    names: bool,
) -> bool:
    """Draw a line with its band and published points; return whether there are such points."""
    values = [request.measured.value(cell, "ilrg", metric) for _, cell in line.points]
    places = [place for place, _ in line.points]
    low, high = [value.pi_low for value in values], [value.pi_high for value in values]
    means = [value.mean for value in values]
    if names:
        axes.vlines(places, low, high, color=colour, alpha=0.5, linewidth=1.0, zorder=order - 2)
        axes.plot(places, means, color=colour, marker=marker, linestyle="none", zorder=order)
    else:
        axes.fill_between(places, low, high, color=colour, alpha=0.16, linewidth=0, zorder=order - 2)
        axes.plot(places, means, color=colour, marker=marker, zorder=order)
    points = [
        (place, value)
        for place, cell in line.points
        if (found := match(request.published, cell, "ilrg", metric, experiments)).exact
        for value in found.values
    ]
    for place, value in points:
        # Clipping off: a marker at 1.000 is whole.
        point = _open_marker(colour, marker)
        point.set_data([place], [value])
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


def _floors(axes_of_panels: Sequence[Axes], request: Request, lines: Sequence[Series]) -> None:
    """Draw the blank answer's score once per data set and place: it depends on classes and batch alone."""
    datasets = list(dict.fromkeys(stands_for(line.points[0][1]["dataset"]) for line in lines))
    for number, dataset in enumerate(datasets):
        drawn: set[tuple[tuple[float, float], ...]] = set()
        for line in lines:
            if stands_for(line.points[0][1]["dataset"]) != dataset:
                continue
            for axes, (metric, _) in zip(axes_of_panels, PANELS, strict=True):
                points = tuple((place, request.measured.value(cell, FLOOR, metric).mean) for place, cell in line.points)
                if points not in drawn or axes is not axes_of_panels[0]:
                    axes.plot(*zip(*points, strict=True), color=_SHADES[number % 3], ls=":", lw=1.1, zorder=1.5)
                drawn.add(points)
