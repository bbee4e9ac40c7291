"""Accuracies of label restoration under every defense, untrained and trained victims side by side."""

from typing import Any

from matplotlib.figure import Figure

from gradleak.report.figures.base import WIDTH, Request
from gradleak.report.figures.panels import Series, attacks_of, beside, cells_of, panels
from gradleak.report.settings import part_of, without

Cell = dict[str, Any]


def draw(request: Request) -> Figure:
    """Draw one panel per accuracy, a marker per attack, victim and stage; defenses as the configuration orders them."""
    attacks = attacks_of(request)
    cells = cells_of(request, attacks)
    defenses = {part_of(cell, "defense"): request.labels.defended(cell) for cell in cells}
    places = {defense: place for place, defense in enumerate(defenses)}
    groups: dict[tuple[Any, ...], list[Cell]] = {}
    for cell in cells:
        groups.setdefault(without(cell, "defense"), []).append(cell)
    lines = []
    for number, group in enumerate(groups.values()):
        aside = beside(number, len(groups))
        points = sorted(((places[part_of(c, "defense")] + aside, c) for c in group), key=lambda point: point[0])
        lines.append(Series(request.labels.setting(group[0], without=("defense",)), points))
    figure = panels(request, attacks, lines, "", ("defenses",), names=True)
    figure.set_size_inches(WIDTH, 4.2)
    for axes in figure.axes:
        axes.set_xticks(range(len(defenses)), list(defenses.values()))
        axes.tick_params(axis="x", rotation=60, labelsize=7.5)
        for label in axes.get_xticklabels():
            label.set_horizontalalignment("right")
            label.set_rotation_mode("anchor")
    return figure
