"""PSNR of the reconstructions under every defense."""

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from gradleak.errors import InputError
from gradleak.report.figures.base import COLOURS, MARKERS, Request, add_legend, grid, set_title
from gradleak.report.image_rows import Reconstructions, check
from gradleak.report.settings import part_of, without
from gradleak.report.statistics import applicable

Cell = dict[str, Any]

Defense = tuple[Any, ...]
"""Columns of the defense and its scope."""


def draw(request: Request) -> Figure:
    """Draw a panel per setting, with a point per defense and attack.

    Defenses are names, not a scale, in the order of the configuration.
    """
    if not request.draft:
        check(request.measured.frame, f"figure {request.name}")
    pictures = Reconstructions.of(applicable(request.measured.frame))
    if not pictures.cells():
        raise InputError(f"figure {request.name}: its experiments have no attack that could be tried")
    defenses = list(dict.fromkeys(part_of(cell, "defense") for cell in pictures.cells()))
    settings: dict[tuple[Any, ...], list[Cell]] = {}
    for cell in pictures.cells():
        settings.setdefault(without(cell, "defense"), []).append(cell)
    figure, panels, columns = grid(len(settings), 2.4)
    for axes, cells in zip(panels, settings.values(), strict=True):
        _panel(axes, request, pictures, cells, defenses)
        set_title(axes, request.labels.setting(cells[0], without=("defense",)), columns)
    for axes in panels[::columns]:
        axes.set_ylabel("PSNR (dB)")
    handles = [
        Line2D([], [], color=colour, marker=marker, linestyle="none", label=request.labels.method.get(name, name))
        for name, (colour, marker) in _looks(pictures).items()
    ]
    add_legend(figure, handles)
    return figure


def _looks(pictures: Reconstructions) -> dict[str, tuple[str, str]]:
    """Colour and marker of each attack."""
    return {
        method: (COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)])
        for number, method in enumerate(pictures.methods())
    }


def _panel(axes: Axes, request: Request, pictures: Reconstructions, cells: list[Cell], defenses: list[Defense]) -> None:
    looks = _looks(pictures)
    for number, (method, (colour, marker)) in enumerate(looks.items()):
        attacked = [cell for cell in cells if method in pictures.methods(cell)]
        # Side by side, so that no marker hides another.
        shift = 0.5 * (number + 0.5) / len(looks) - 0.25
        places = [defenses.index(part_of(cell, "defense")) + shift for cell in attacked]
        values = [pictures.measured.value(cell, method, "psnr") for cell in attacked]
        of_one = [value.basis == "initialisations" for value in values]
        low = [value.pi_low if several else value.ci_low for value, several in zip(values, of_one, strict=True)]
        high = [value.pi_high if several else value.ci_high for value, several in zip(values, of_one, strict=True)]
        axes.vlines(places, low, high, color=colour, alpha=0.5, linewidth=1.0)
        axes.plot(places, [value.mean for value in values], color=colour, marker=marker, linestyle="none")
    axes.set_xticks(range(len(defenses)), [request.labels.defense.get(name, name) for name, _ in defenses])
    axes.set_xlim(-0.5, len(defenses) - 0.5)
    axes.tick_params(axis="x", rotation=40)
    for label in axes.get_xticklabels():
        label.set_horizontalalignment("right")
        label.set_rotation_mode("anchor")
    scopes = {scope for _, scope in defenses if scope}
    if "all" in scopes:
        every = scopes == {"all"}
        axes.set_xlabel("Defense of all layers' gradients" if every else "Defense")
