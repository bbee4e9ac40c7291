"""The common form of tables: settings and attacks, each metric measured beside published, and a verdict."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, product
from types import MappingProxyType
from typing import Any

import pandas as pd

from gradleak.plan import metric_facts
from gradleak.report.attacks import BLANK, UNIFORM
from gradleak.report.published import NO_VERDICT
from gradleak.report.settings import without
from gradleak.report.statistics import AGREES, DIFFERS, UNDECIDED
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
"""Explanation of the columns, for captions."""

NOTE = (
    "n: initialisations × tries. [t: …]: only one initialisation, so the 95 % interval is over its tries and "
    f"the verdict is undecided. {RANGE_NOTE}*: published figure outside the interval. (B=…): published for that batch "
    "size only, so there is no verdict (—). "
)
SEVERAL_NOTE = "a / b: n of each attack in turn. —: not published, or the attack was not run on the setting. "
BLANK_NOTE = "Blank: LeAcc and LnAcc of the answer “no class is present”, whose IRec is 0. "

_EXTRA = ("f1", "count_l1", "exact_match")


@dataclass(frozen=True)
class Group:
    """Lines of a table under one heading.

    Attributes:
        heading: the common parts of its settings.
        lines: what distinguishes each setting, and the setting.
    """

    heading: str
    lines: Sequence[tuple[str, Cell]]


@dataclass(frozen=True)
class Further:
    """A further column, before the metrics.

    Attributes:
        header: its title.
        of: setting, attack -> text of the column, and columns of the CSV form.
        of_attack: whether it differs between attacks.
    """

    header: str
    of: Callable[[Cell, str], tuple[str, dict[str, Any]]]
    of_attack: bool = True


def verdict(words: dict[str, str]) -> str:
    """Combine a setting's verdicts: ``agrees`` if all do, ``differs`` if one does, ``undecided`` or a dash.

    Args:
        words: header of a metric -> its verdict.
    """
    judged = set(words.values()) - {NO_VERDICT}
    return next((word for word in (DIFFERS, UNDECIDED, AGREES) if word in judged), NO_VERDICT)


def over(
    request: Request, varying: str, label: Callable[[Cell], str], order: Callable[[Cell], Any] | None = None
) -> Iterator[Group]:
    """Group settings that differ in only one part, in order of first appearance.

    Args:
        request: the input of the builder; its cells are grouped.
        varying: the part, see :mod:`gradleak.report.settings`.
        label: the text of a setting's line.
        order: sort key for the lines of a group; order of first appearance if omitted.
    """
    groups: dict[tuple[Any, ...], list[Cell]] = {}
    for cell in request.measured.cells():
        groups.setdefault(without(cell, varying), []).append(cell)
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
    """Build a table of label restoration: a line per setting, with every metric of each attack, measured and published.

    LeAcc comes with the score of the blank answer, and in the CSV form with F1, count error, exact matches and all
    floors. The CSV form has a row per setting and attack.

    Args:
        request: the input of the builder; its ``metrics`` replace those given here.
        groups: the settings.
        caption: what the table shows, with ``{attacks}`` for their names; an explanation of the intervals is added.
        experiments: published experiments that the table reproduces.
        metrics: the metrics of the table; an attack is shown with those that it has.
        headers: titles of metrics if they differ from the metrics' labels, with ``{attack}`` for the name of the only
            attack.
        further: columns before the metrics.
        note: added to the general note.

    Raises:
        InputError: see :meth:`gradleak.report.tables.base.Request.attacks`.
    """
    metrics = request.metrics or metrics
    extra = [name for name in _EXTRA if "leacc" in metrics and name not in metrics]
    attacks = request.attacks(metrics, also=extra)
    floored = any("leacc" in has for has in attacks.values())
    several = len(attacks) > 1
    attack = "recovered" if several else request.named(attacks)
    titles = {metric: header.format(attack=attack) for metric, header in headers.items()}
    columns = {
        name: _columns_of(has, further, titles, request.named([name]) if several else "")
        for name, has in attacks.items()
    }
    lines: list[Line] = []
    numbers: list[dict[str, Any]] = []
    for group in groups:
        of_group: list[Line] = []
        for label, cell in group.lines:
            ran = {name: has for name, has in attacks.items() if request.measured.ran(cell, name)}
            entries = {name: _entry(request, cell, name, has, experiments, further) for name, has in ran.items()}
            if not entries:
                continue
            n = [entry.n for entry in entries.values()]
            texts = [label, n[0] if len(set(n)) == 1 else " / ".join(n), *next(iter(entries.values())).shared]
            for name in attacks:
                texts += entries[name].own if name in entries else ["—"] * len(columns[name])
            texts += [plain(request.measured.value(cell, BLANK, "leacc"))] if floored else []
            of_group.append(Line(tuple(texts)))
            start = {"group": group.heading, **numeric_cell(cell)}
            for name, entry in entries.items():
                more = _more_numbers(request, cell, name, extra) if floored else {}
                numbers.append({**start, "method": name, **entry.row, **more})
        lines += [Line(heading=group.heading, rule=True), *of_group] if of_group else []
    shared = [Column(one.header) for one in further if not one.of_attack]
    blank = [Column("Blank", align="r")] if floored else []
    shown = (Column("Setting", align="l"), Column("n"), *shared, *chain(*columns.values()), *blank)
    notes = NOTE + (SEVERAL_NOTE if several else "") + (BLANK_NOTE if floored else "") + note
    text = f"{caption.format(attacks=request.named(attacks))} {INTERVALS}"
    return Table(text, notes.strip(), shown, tuple(lines), pd.DataFrame(numbers))


def _columns_of(has: Sequence[str], further: Sequence[Further], titles: Mapping[str, str], name: str) -> list[Column]:
    """Return the columns of an attack, with ``name`` above them unless it is empty."""
    columns = [Column(one.header, name) for one in further if one.of_attack]
    for metric in has:
        title = f"{name}: {titles.get(metric) or metric_facts.label(metric)}".removeprefix(": ")
        columns += [Column("measured", title), Column("publ.", title)]
    return [*columns, Column("Verdict", name, align="l")]


@dataclass(frozen=True)
class _Entry:
    """An attack on a setting: n, the further columns shared by all attacks, its own columns, and its numbers."""

    n: str
    shared: list[str]
    own: list[str]
    row: dict[str, Any]


def _entry(
    request: Request,
    cell: Cell,
    method: str,
    metrics: Sequence[str],
    experiments: tuple[str, ...],
    further: Sequence[Further],
) -> _Entry:
    pairs = {name: request.find(cell, method, name, experiments) for name in metrics}
    words = {name: judgement(value, published) for name, (value, published) in pairs.items()}
    more = [(one.of_attack, *one.of(cell, method)) for one in further]
    own = [text for of_attack, text, _ in more if of_attack]
    row: dict[str, Any] = {}
    for name, (value, published) in pairs.items():
        own += [with_prediction(value), published.text() + ("*" if words[name] == DIFFERS else "")]
        row |= numeric_value(name, value, published)
    row["verdict"] = verdict(words)
    for _, _, columns in more:
        row |= columns
    shared = [text for of_attack, text, _ in more if not of_attack]
    return _Entry(tries(pairs[metrics[0]][0]), shared, [*own, verdict(words)], row)


def _more_numbers(request: Request, cell: Cell, method: str, extra: Sequence[str]) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for name in extra:
        row |= numeric_value(name, request.measured.value(cell, method, name))
    for floor, name in product((BLANK, UNIFORM), ACCURACIES):
        row[f"{floor.replace('-', '_')}_{name}"] = request.measured.value(cell, floor, name).mean
    return row
