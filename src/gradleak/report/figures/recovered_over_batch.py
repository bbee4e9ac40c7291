"""Shares of images that exact inversion certifies, and that are recovered, over the batch size."""

from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator

from gradleak.errors import InputError
from gradleak.plan.metric_facts import RECOVERED
from gradleak.report.figures.accuracy_over_batch import scale_by_batch, series
from gradleak.report.figures.base import COLOURS, MARKERS, WIDTH, Request, add_legend
from gradleak.report.image_rows import Reconstructions, check
from gradleak.report.settings import without
from gradleak.report.statistics import applicable

PANELS = (("certified", "certified"), ("recovered", f"recovered (PSNR of {RECOVERED:.0f} dB or more)"))

_ASIDE = 2**0.03
"""Factor between the places of two lines at one batch size, so that no marker hides another."""

_TICKS = 7
"""Batch sizes that an axis has room for."""

Cell = dict[str, Any]


def draw(request: Request) -> Figure:
    """Draw a panel per share, and in each a line per victim, stage and attack that certifies images."""
    if not request.draft:
        check(request.measured.frame, f"figure {request.name}")
    pictures = Reconstructions.of(applicable(request.measured.frame))
    certifying = [name for name in pictures.methods() if "certified" in pictures.measured.metrics[name]]
    cells = [cell for cell in pictures.cells() if any(name in pictures.methods(cell) for name in certifying)]
    if not cells:
        raise InputError(f"figure {request.name}: no attack of its experiments certifies images")
    lines = series(cells)
    figure = Figure(figsize=(WIDTH, 2.7 + 0.17 * len(lines) / 2), layout="constrained")
    drawn = [(line, name) for line in lines for name in certifying if name in pictures.methods(line[0])]
    handles = []
    for axes, (metric, title) in zip(figure.subplots(1, len(PANELS), sharey=True), PANELS, strict=True):
        handles = []
        for number, (line, method) in enumerate(drawn):
            look: dict[str, Any] = {"color": COLOURS[number % len(COLOURS)], "marker": MARKERS[number % len(MARKERS)]}
            values = [pictures.measured.value(cell, method, metric) for cell in line]
            places = [cell["batch_size"] * _ASIDE ** (number - (len(drawn) - 1) / 2) for cell in line]
            low, high = [value.ci_low for value in values], [value.ci_high for value in values]
            axes.vlines(places, low, high, color=look["color"], alpha=0.5, linewidth=1.0)
            axes.plot(places, [value.mean for value in values], **look)
            handles.append(Line2D([], [], **look, label=_name(request, cells, line[0], method, certifying)))
        axes.set_title(f"Images {title}", fontsize=8.5)
        axes.set_xlabel("Batch size B")
        axes.set_ylim(-0.03, 1.04)
    figure.axes[0].set_ylabel("Share")
    scale_by_batch(figure, lines)
    sizes = sorted({cell["batch_size"] for cell in cells})
    if len(sizes) <= _TICKS:  # few enough to be named, also those that are no power of two
        for axes in figure.axes:
            axes.xaxis.set_major_locator(FixedLocator(sizes))
    add_legend(figure, handles)
    return figure


def _name(request: Request, cells: list[Cell], cell: Cell, method: str, certifying: list[str]) -> str:
    """Return what tells a line from the others: the data set only where there are several, as the attack."""
    left_out = ["batch_size", *(["dataset"] if len({each["dataset"] for each in cells}) == 1 else [])]
    setting = request.labels.setting(cell, without=left_out)
    victims = {without(each, "stage", "batch_size") for each in cells if each["stage_unit"]}
    if without(cell, "stage", "batch_size") in victims and not cell["stage_unit"]:
        setting = f"{setting}, untrained"  # beside the same victim at other stages
    return setting if len(certifying) == 1 else f"{setting}: {request.named(method)}"
