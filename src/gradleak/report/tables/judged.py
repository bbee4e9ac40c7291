"""What most tables are: settings of one method, each metric measured beside published, and a verdict."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from gradleak.report.published import NO_VERDICT
from gradleak.report.statistics import AGREES, CELL, DIFFERS, UNDECIDED
from gradleak.report.tables.base import (
    RANGE_NOTE,
    Column,
    Line,
    Request,
    Table,
    judgement,
    numeric_cell,
    numeric_value,
    plain,
    tries,
    with_prediction,
)

Cell = dict[str, Any]

ACCURACIES = (("leacc", "LeAcc"), ("lnacc", "LnAcc"), ("irec", "IRec"))
"""Metric and header of the figures of label restoration."""

INTERVALS = (
    "Measured: mean and 95 % prediction interval for one initialisation, beside the published figure (one "
    "initialisation). A setting agrees when each of its published figures lies in its interval."
)
"""What a caption says of the columns."""

NOTE = (
    "n: initialisations × tries. [t: …]: one initialisation only, so the 95 % interval is over its tries and "
    f"nothing is decided. {RANGE_NOTE}*: published figure outside the interval. (B=…): published for that batch "
    "size only, so there is no verdict (—). "
)
BLANK_NOTE = "Blank: LeAcc and LnAcc of the answer “no class is present”, whose IRec is 0. "

_FLOOR = ("floor-blank", "leacc")
_FLOORS = tuple((floor, name) for floor in ("floor-blank", "floor-uniform") for name, _ in ACCURACIES)
_EXTRA = ("f1", "count_l1", "exact_match")


@dataclass(frozen=True)
class Group:
    """Lines of a table under one heading.

    Attributes:
        heading: what its settings have in common.
        lines: what sets each apart, and the setting.
    """

    heading: str
    lines: Sequence[tuple[str, Cell]]


@dataclass(frozen=True)
class Further:
    """A further column, after n.

    Attributes:
        header: its title.
        of: setting -> what the column shows, and columns of the CSV form.
    """

    header: str
    of: Callable[[Cell], tuple[str, dict[str, Any]]]


def verdict(words: dict[str, str]) -> str:
    """Sum up a setting's verdicts: ``agrees`` if all do, ``differs`` if one does, ``undecided`` or a dash.

    Args:
        words: header of a metric -> its verdict.
    """
    judged = set(words.values()) - {NO_VERDICT}
    return next((word for word in (DIFFERS, UNDECIDED, AGREES) if word in judged), NO_VERDICT)


def over(
    request: Request, varying: str, label: Callable[[Cell], str], order: Callable[[Cell], Any] | None = None
) -> Iterator[Group]:
    """Group settings that differ in one column of the schema alone, in order of first appearance.

    Args:
        request: what the builder got; its cells are grouped.
        varying: the column.
        label: what a line calls a setting.
        order: sorts the lines of a group; order of first appearance if omitted.
    """
    groups: dict[tuple[Any, ...], list[Cell]] = {}
    for cell in request.measured.cells():
        groups.setdefault(tuple(cell[name] for name in CELL if name != varying), []).append(cell)
    for cells in groups.values():
        lines = sorted(cells, key=order) if order else cells
        yield Group(request.labels.setting(cells[0], without=(varying,)), [(label(cell), cell) for cell in lines])


def judged(
    request: Request,
    groups: Sequence[Group],
    *,
    caption: str,
    experiments: tuple[str, ...],
    metrics: Sequence[tuple[str, str]] = ACCURACIES,
    further: Sequence[Further] = (),
    note: str = "",
) -> Table:
    """Build a table of iLRG: one line per setting, each metric measured and published.

    With the accuracies come the blank answer's floor, and in the CSV form F1, count error, exact matches and all
    floors.

    Args:
        request: what the builder got.
        groups: the lines.
        caption: what the table shows; how to read its intervals is added.
        experiments: published experiments that the table reproduces.
        metrics: name and header.
        further: columns between n and the metrics.
        note: added to the general one.

    Raises:
        InputError: a cell is missing and this is no draft.
    """
    accuracies = tuple(metrics) == ACCURACIES
    needs = [("ilrg", name) for name, _ in metrics]
    request.check(needs + ([("ilrg", name) for name in _EXTRA] + [_FLOOR] if accuracies else []))
    lines: list[Line] = []
    numbers = []
    for group in groups:
        lines.append(Line(heading=group.heading, rule=True))
        for label, cell in group.lines:
            shown, row = _line(request, cell, metrics, experiments)
            extra = [one.of(cell) for one in further]
            row = {"group": group.heading, **numeric_cell(cell), **row}
            for _, columns in extra:
                row |= columns
            line = [label, shown[0], *(text for text, _ in extra), *shown[1:]]
            if accuracies:
                line.append(plain(request.measured.value(cell, *_FLOOR)))
                row |= _more_numbers(request, cell)
            lines.append(Line(tuple(line)))
            numbers.append(row)
    columns = [Column("Setting", align="l"), Column("n"), *(Column(one.header) for one in further)]
    for _, header in metrics:
        columns += [Column("measured", header), Column("publ.", header)]
    columns.append(Column("Verdict", align="l"))
    if accuracies:
        columns.append(Column("Blank", align="r"))
    notes = NOTE + (BLANK_NOTE if accuracies else "") + note
    return Table(f"{caption} {INTERVALS}", notes.strip(), tuple(columns), tuple(lines), pd.DataFrame(numbers))


def _line(
    request: Request, cell: Cell, metrics: Sequence[tuple[str, str]], experiments: tuple[str, ...]
) -> tuple[list[str], dict[str, Any]]:
    """Return n, each metric measured and published, and the verdict; and the same as numbers."""
    pairs = {name: request.find(cell, "ilrg", name, experiments) for name, _ in metrics}
    words = {name: judgement(value, found) for name, (value, found) in pairs.items()}
    shown = [tries(next(iter(pairs.values()))[0])]
    row: dict[str, Any] = {}
    for name, (value, found) in pairs.items():
        shown += [with_prediction(value), found.text() + ("*" if words[name] == DIFFERS else "")]
        row |= numeric_value(name, value, found)
    return [*shown, verdict(words)], {**row, "verdict": verdict(words)}


def _more_numbers(request: Request, cell: Cell) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for name in _EXTRA:
        row |= numeric_value(name, request.measured.value(cell, "ilrg", name))
    for floor, name in _FLOORS:
        row[f"{floor.replace('-', '_')}_{name}"] = request.measured.value(cell, floor, name).mean
    return row
