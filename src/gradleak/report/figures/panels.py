"""Three panels, LnAcc, LeAcc and IRec, with published points and the blank answer's score."""

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
"""Lines of attacks, where there are several; a floor's is dotted."""

_WIDE = 0.5
"""What the points of a name take up between it and the next, of 1."""


@dataclass(frozen=True)
class Series:
    """A line of each panel for each attack.

    Attributes:
        label: in the legend.
        points: place on the horizontal axis, and the setting there; ascending.
    """

    label: str
    points: Sequence[tuple[float, Cell]]


@dataclass(frozen=True)
class _Look:
    """How the line of a series and an attack is drawn.

    With one attack each series has its colour and marker; with several, colour and line are the attack's.
    """

    colour: str
    marker: str
    line: Any

    @classmethod
    def of(cls, series: int, attack: int, attacks: int) -> "_Look":
        colour = attack if attacks > 1 else series
        return cls(COLOURS[colour % len(COLOURS)], MARKERS[series % len(MARKERS)], _STYLES[attack % len(_STYLES)])


def attacks_of(request: Request) -> Attacks:
    """Return the attacks that a figure of accuracies shows, in the configuration's order, each with its accuracies.

    Raises:
        InputError: this is no draft and a cell is missing, or no attack has the accuracies.
    """
    metrics = [metric for metric, _ in PANELS]
    attacks = attacks_with(request.measured, metrics, request.labels.method)
    if not request.draft:
        check_attacks(request.measured, attacks, f"figure {request.name}", metrics, every=False)
    return attacks


def cells_of(request: Request, attacks: Attacks) -> list[Cell]:
    """Return the settings on which one of the attacks was tried."""
    tried = request.measured.tried
    return [cell for cell in request.measured.cells() if any(tried(cell, name) for name in attacks)]


def beside(number: int, of: int) -> float:
    """Return how far from a name the points of one of several series are drawn."""
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
        request: what the builder got.
        attacks: what :func:`attacks_of` gave.
        lines: what to draw of each attack.
        xlabel: title of the horizontal axes.
        experiments: published experiments that the figure reproduces.
        names: places are names and no scale, so nothing is drawn between them: points with bars in place of lines
            with bands, beside each other so that no marker hides another.

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
    """Return the legend of lines: the series and, where there are several, the attacks."""
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
    """A line of one panel: an attack's values of a metric on the settings of a series."""

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
            # Clipping off: a marker at 1.000 is whole.
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
    """Draw the blank answer's score once per data set and place: it depends on classes and batch alone."""
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
