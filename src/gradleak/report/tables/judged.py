"""What most tables are: settings and attacks, each metric measured beside published, and a verdict."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from types import MappingProxyType
from typing import Any

import pandas as pd

from gradleak.plan import metric_facts
from gradleak.report.attacks import BLANK, UNIFORM
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

ACCURACIES = ("leacc", "lnacc", "irec")
"""Metrics of label restoration."""

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
LACKING_NOTE = "—: not published, or not among what the attack restores. "
BLANK_NOTE = "Blank: LeAcc and LnAcc of the answer “no class is present”, whose IRec is 0. "

_EXTRA = ("f1", "count_l1", "exact_match")
_PAGE = 40
"""Lines that fit a page with caption and note; a table of more runs over several pages."""


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
        of: setting, attack -> what the column shows, and columns of the CSV form.
    """

    header: str
    of: Callable[[Cell, str], tuple[str, dict[str, Any]]]


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
    metrics: Sequence[str] = ACCURACIES,
    headers: Mapping[str, str] = MappingProxyType({}),
    further: Sequence[Further] = (),
    note: str = "",
) -> Table:
    """Build a table of label restoration: a line per setting and attack, each metric measured and published.

    Attacks are named where there are several. With LeAcc come the blank answer's floor, and in the CSV form F1, count
    error, exact matches and all floors.

    Args:
        request: what the builder got; its ``metrics`` are shown in place of those here.
        groups: the settings.
        caption: what the table shows, with ``{attacks}`` for their names; how to read its intervals is added.
        experiments: published experiments that the table reproduces.
        metrics: those of the table; one that no attack has is left out.
        headers: titles of metrics where they are not the metrics' labels, with ``{attack}`` for the name of the only
            attack.
        further: columns between n and the metrics.
        note: added to the general one.

    Raises:
        InputError: see :meth:`gradleak.report.tables.base.Request.attacks`.
    """
    metrics = request.metrics or metrics
    extra = [name for name in _EXTRA if "leacc" in metrics and name not in metrics]
    attacks = request.attacks(metrics, also=extra)
    shown = [name for name in metrics if any(name in has for has in attacks.values())]
    several, floored = len(attacks) > 1, "leacc" in shown
    lines: list[Line] = []
    numbers: list[dict[str, Any]] = []
    for group in groups:
        of_group: list[Line] = []
        for label, cell in group.lines:
            for method in (name for name in attacks if request.measured.ran(cell, name)):
                (n, *texts), row = _line(request, cell, method, attacks[method], shown, experiments)
                more = [one.of(cell, method) for one in further]
                start = [label, request.named([method])] if several else [label]
                end = [plain(request.measured.value(cell, BLANK, "leacc"))] if floored else []
                of_group.append(Line((*start, n, *(text for text, _ in more), *texts, *end)))
                row = {"group": group.heading, **numeric_cell(cell), "method": method, **row}
                for columns in (columns for _, columns in more):
                    row |= columns
                numbers.append(row | (_more_numbers(request, cell, method, extra) if floored else {}))
                label = ""  # once for all attacks on a setting
        lines += [Line(heading=group.heading, rule=True), *of_group] if of_group else []
    columns = [Column("Setting", align="l"), *([Column("Attack", align="l")] if several else []), Column("n")]
    columns += [Column(one.header) for one in further]
    attack = "attack" if several else request.named(attacks)
    for name in shown:
        title = headers[name].format(attack=attack) if name in headers else metric_facts.label(name)
        columns += [Column("measured", title), Column("publ.", title)]
    columns += [Column("Verdict", align="l"), *([Column("Blank", align="r")] if floored else [])]
    notes = NOTE + (LACKING_NOTE if several else "") + (BLANK_NOTE if floored else "") + note
    said = f"{caption.format(attacks=request.named(attacks))} {INTERVALS}"
    table = pd.DataFrame(numbers)
    return Table(said, notes.strip(), tuple(columns), tuple(lines), table, long=len(lines) > _PAGE and several)


def _line(
    request: Request,
    cell: Cell,
    method: str,
    has: Sequence[str],
    shown: Sequence[str],
    experiments: tuple[str, ...],
) -> tuple[list[str], dict[str, Any]]:
    """Return n, each metric measured and published, and the verdict; and the same as numbers."""
    pairs = {name: request.find(cell, method, name, experiments) for name in shown}
    words = {name: judgement(value, found) for name, (value, found) in pairs.items()}
    texts = [tries(pairs[has[0]][0])]
    row: dict[str, Any] = {}
    for name, (value, found) in pairs.items():
        measured = with_prediction(value) if name in has else "—"
        texts += [measured, found.text() + ("*" if words[name] == DIFFERS else "")]
        row |= numeric_value(name, value, found)
    return [*texts, verdict(words)], {**row, "verdict": verdict(words)}


def _more_numbers(request: Request, cell: Cell, method: str, extra: Sequence[str]) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for name in extra:
        row |= numeric_value(name, request.measured.value(cell, method, name))
    for floor, name in product((BLANK, UNIFORM), ACCURACIES):
        row[f"{floor.replace('-', '_')}_{name}"] = request.measured.value(cell, floor, name).mean
    return row
