"""iLRG's accuracies under every defense, untrained and trained victims beside each other."""

from typing import Any

from matplotlib.figure import Figure

from gradleak.report.figures.base import WIDTH, Request
from gradleak.report.figures.panels import Series, panels

Cell = dict[str, Any]


def draw(request: Request) -> Figure:
    """Draw one panel per accuracy, one line per victim and stage, defenses in the order of the configuration."""
    cells = request.measured.cells_of("ilrg")
    defenses = list(dict.fromkeys(cell["defense"] for cell in cells))
    groups: dict[tuple[Any, ...], list[Cell]] = {}
    for cell in cells:
        groups.setdefault(tuple(value for name, value in cell.items() if name != "defense"), []).append(cell)
    # Beside each other, so that no marker hides another.
    shift = {key: 0.5 * (number + 0.5) / len(groups) - 0.25 for number, key in enumerate(groups)}
    lines = [
        Series(
            request.labels.setting(group[0], without=("defense",)),
            sorted(((defenses.index(c["defense"]) + shift[key], c) for c in group), key=lambda point: point[0]),
        )
        for key, group in groups.items()
    ]
    figure = panels(request, lines, "", ("defenses",), names=True)
    figure.set_size_inches(WIDTH, 4.2)
    for axes in figure.axes:
        axes.set_xticks(range(len(defenses)), [request.labels.defended(name) for name in defenses])
        axes.tick_params(axis="x", rotation=60, labelsize=7.5)
        for label in axes.get_xticklabels():
            label.set_horizontalalignment("right")
            label.set_rotation_mode("anchor")
    return figure
