"""Three panels, LnAcc, LeAcc and IRec, with published points and the score of the blank answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from gradleak.errors import InputError
from gradleak.plan.catalogue import stands_for
from gradleak.report.attacks import BLANK, Attacks, attacks_with, check_attacks
from gradleak.report.figures.base import COLOURS, MARKERS, WIDTH, Request, add_legend
from gradleak.report.published import match

PANELS = (("lnacc", "LnAcc (counts)"), ("leacc", "LeAcc (presence)"), ("irec", "IRec (instances)"))
_SHADES = ("#777777", "#AAAAAA", "#444444")

Cell = dict[str, Any]

_STYLES = ("-", "--", "-.", (0, (5, 1, 1, 1, 1, 1)))
"""Line styles of attacks, if there are several; floors are dotted."""

_WIDE = 0.5
"""Share of the space between two names that the points of one may occupy."""


@dataclass(frozen=True)
class Series:
    """A line in each panel for each attack.

    Attributes:
        label: its label in the legend.
        points: positions on the horizontal axis, ascending, and their settings.
    """

    label: str
    points: Sequence[tuple[float, Cell]]


@dataclass(frozen=True)
class _Look:
    """Style of the line of a series and an attack.

    With one attack, each series has its own colour and marker; with several, each attack has its own colour and line
    style.
    """

    colour: str
    marker: str
    line: Any

    @classmethod
    def of(cls, series: int, attack: int, attacks: int) -> "_Look":
        colour = attack if attacks > 1 else series
        return cls(COLOURS[colour % len(COLOURS)], MARKERS[series % len(MARKERS)], _STYLES[attack % len(_STYLES)])


def attacks_of(request: Request) -> Attacks:
    """Return the attacks of a figure of accuracies, in the order of the configuration, each with its accuracies.

    Raises:
        InputError: a cell is missing and this is not a draft, or no attack has the accuracies.
    """
    metrics = [metric for metric, _ in PANELS]
    attacks = attacks_with(request.measured, metrics, request.labels.method)
    if not request.draft:
        check_attacks(request.measured, attacks, f"figure {request.name}", metrics, every=False)
    return attacks


def cells_of(request: Request, attacks: Attacks) -> list[Cell]:
    """Return the settings on which at least one of the attacks was tried."""
    tried = request.measured.tried
    return [cell for cell in request.measured.cells() if any(tried(cell, name) for name in attacks)]


def beside(number: int, of: int) -> float:
    """Return the horizontal offset from a name of the points of one of several series."""
    return _WIDE * ((number + 0.5) / of - 0.5)


def panels(
    request: Request,
    attacks: Attacks,
    lines: Sequence[Series],
    xlabel: str,
    experiments: tuple[str, ...],
    *,
    names: bool = False,
) -> Figure:
    """Draw every line in every panel, with a legend below.

    Args:
        request: the input of the builder.
        attacks: the result of :func:`attacks_of`.
        lines: the series to draw for each attack.
        xlabel: label of the horizontal axes.
        experiments: published experiments that the figure reproduces.
        names: the positions are names, not a scale: draw points with bars, side by side so that no marker hides
            another, in place of lines with bands.

    Raises:
        InputError: there are no lines.
    """
    if not lines:
        raise InputError(f"figure {request.name}: its experiments have no setting on which an attack could be tried")
    figure = Figure(figsize=(WIDTH, 2.95), layout="constrained")
    has_published = False
    axes_of_panels = list(figure.subplots(1, len(PANELS), sharey=True))
    for number, (line, (which, method)) in enumerate(product(lines, enumerate(attacks))):
        look = _Look.of(number // len(attacks), which, len(attacks))
        aside = beside(which, len(attacks)) / len(lines) if names else 0.0
        points = [(place + aside, cell) for place, cell in line.points if request.measured.tried(cell, method)]
        for axes, (metric, _) in zip(axes_of_panels, PANELS, strict=True):
            if metric in attacks[method] and points:
                drawn = _Drawn(axes, request, points, method, metric, look, 4 + 0.1 * number)
                drawn.draw(names=names)
                has_published |= drawn.draw_published(experiments)
    _floors(axes_of_panels, request, lines)
    for axes, (_, title) in zip(axes_of_panels, PANELS, strict=True):
        axes.set_title(title)
        axes.set_xlabel(xlabel)
        axes.set_ylim(-0.03, 1.04)
    axes_of_panels[0].set_ylabel("Share")
    handles = _handles(request, attacks, lines, names=names)
    if not names:
        handles.append(Patch(facecolor="#777777", alpha=0.22, label="95 % prediction interval"))
    if has_published:
        handles.append(_open_marker("#444444", "o", label="published"))
    handles.append(Line2D([], [], color="#777777", linestyle=":", linewidth=1.1, label="blank answer"))
    add_legend(figure, handles)
    return figure


def _handles(request: Request, attacks: Attacks, lines: Sequence[Series], *, names: bool) -> list[Any]:
    """Return the legend of lines: the series and, if there are several, the attacks."""
    looks = [_Look.of(number, 0, len(attacks)) for number in range(len(lines))]
    style = "none" if names or len(attacks) > 1 else "-"
    handles = [
        Line2D(
            [], [], color="#444444" if len(attacks) > 1 else look.colour, marker=look.marker, label=line.label, ls=style
        )
        for line, look in zip(lines, looks, strict=True)
    ]
    if len(attacks) > 1:
        for number, method in enumerate(attacks):
            look = _Look.of(0, number, len(attacks))
            handles.append(Line2D([], [], color=look.colour, ls=look.line, label=request.named(method)))
    return handles


@dataclass(frozen=True)
class _Drawn:
    """A line in one panel: the values of an attack's metric on the settings of a series."""

    axes: Axes
    request: Request
    points: Sequence[tuple[float, Cell]]
    method: str
    metric: str
    look: _Look
    order: float

    def draw(self, *, names: bool) -> None:
        """Draw the means with their intervals."""
        values = [self.request.measured.value(cell, self.method, self.metric) for _, cell in self.points]
        places = [place for place, _ in self.points]
        low, high = [value.pi_low for value in values], [value.pi_high for value in values]
        means = [value.mean for value in values]
        colour, marker = self.look.colour, self.look.marker
        if names:
            self.axes.vlines(places, low, high, color=colour, alpha=0.5, linewidth=1.0, zorder=self.order - 2)
            self.axes.plot(places, means, color=colour, marker=marker, linestyle="none", zorder=self.order)
        else:
            self.axes.fill_between(places, low, high, color=colour, alpha=0.16, linewidth=0, zorder=self.order - 2)
            self.axes.plot(places, means, color=colour, marker=marker, linestyle=self.look.line, zorder=self.order)

    def draw_published(self, experiments: tuple[str, ...]) -> bool:
        """Draw the published points; return whether there are any."""
        points = [
            (place, value)
            for place, cell in self.points
            if (published := match(self.request.published, cell, self.method, self.metric, experiments)).exact
            for value in published.values
        ]
        for place, value in points:
            # Without clipping, a marker at 1.000 is fully visible.
            point = _open_marker(self.look.colour, self.look.marker)
            point.set_data([place], [value])
            point.set_zorder(self.order + 2)
            point.set_clip_on(False)
            self.axes.add_line(point)
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
    """Draw the score of the blank answer once per data set and position: it depends only on classes and batch."""
    datasets = list(dict.fromkeys(stands_for(line.points[0][1]["dataset"]) for line in lines))
    for number, dataset in enumerate(datasets):
        drawn: set[tuple[tuple[float, float], ...]] = set()
        for line in lines:
            if stands_for(line.points[0][1]["dataset"]) != dataset:
                continue
            for axes, (metric, _) in zip(axes_of_panels, PANELS, strict=True):
                points = tuple((place, request.measured.value(cell, BLANK, metric).mean) for place, cell in line.points)
                if points not in drawn or axes is not axes_of_panels[0]:
                    axes.plot(*zip(*points, strict=True), color=_SHADES[number % 3], ls=":", lw=1.1, zorder=1.5)
                drawn.add(points)
