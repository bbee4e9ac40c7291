"""Experiment 2: iLRG over batch size and depth, judged against the published figures."""

import re
from collections.abc import Iterator
from itertools import groupby
from typing import Any

import pandas as pd

from gradleak.published import NO_VERDICT
from gradleak.statistics import AGREES, DIFFERS, UNDECIDED
from gradleak.tables.base import (
    Column,
    Line,
    Request,
    Table,
    numeric_cell,
    numeric_value,
    plain,
    register,
    tries,
    with_prediction,
)

_PUBLISHED = ("batch_size_and_depth",)
_JUDGED = (("leacc", "LeAcc"), ("lnacc", "LnAcc"), ("irec", "IRec"))
_EXTRA = ("f1", "count_l1", "exact_match")
_FLOOR = ("floor-blank", "leacc")
_CSV_FLOORS = tuple((f, m) for f in ("floor-blank", "floor-uniform") for m in ("leacc", "lnacc", "irec"))

Cell = dict[str, Any]

CAPTION = (
    "iLRG over batch size and depth: measured mean and 95 % prediction interval for one initialisation, "
    "beside the published figure (one initialisation). A setting agrees when each of its published figures "
    "lies in its interval."
)
NOTE = (
    "n: initialisations × tries. [t: …]: one initialisation only, so the 95 % interval is over its tries and "
    "there is no verdict (n/a). *: published figure outside the interval. (B=…): published for that batch "
    "size only, so there is no verdict (—). Blank: LeAcc and LnAcc of the answer “no class is present”, "
    "whose IRec is 0. The CSV form adds F1, the count error, the share of batches restored exactly, and the "
    "floors of a uniform guess."
)


def depth(model: str) -> tuple[str, int] | None:
    """Return the family and depth of a model id, None if it belongs to no family.

    The depth is the number of hidden layers after the first for the FCN, the number in the name for VGG and
    ResNet.
    """
    if found := re.fullmatch(r"fcn(?:-n_hidden=(\d+))?", model):
        return "FCN", int(found[1] or 1)
    if found := re.fullmatch(r"(vgg|resnet)(\d+)((?:-.+)?)", model):
        return {"vgg": "VGG", "resnet": "ResNet"}[found[1]] + found[3], int(found[2])
    return None


def _same(cell: Cell, *names: str) -> tuple[Any, ...]:
    return tuple(cell[name] for name in (*names, "distribution", "stage", "defense"))


def _gather(cells: list[Cell], key: Any) -> Iterator[list[Cell]]:
    """Groups of two cells or more with equal keys, in order of first appearance; None is no key."""
    keys = list(dict.fromkeys(key(cell) for cell in cells))
    for one in keys:
        group = [cell for cell in cells if key(cell) == one]
        if one is not None and len(group) > 1:
            yield group


def blocks(cells: list[Cell]) -> list[tuple[str, list[Cell]]]:
    """Arrange settings: over the batch size per victim, over the depth per family, then all others.

    Returns:
        (``batch size`` | ``depth`` | ``other``, settings in ascending order). A setting may be in both of the
        first.
    """
    found = [
        ("batch size", sorted(group, key=lambda cell: cell["batch_size"]))
        for group in _gather(cells, lambda cell: _same(cell, "dataset", "model"))
    ]

    def family(cell: Cell) -> tuple[Any, ...] | None:
        at = depth(cell["model"])
        return (at[0], *_same(cell, "dataset", "batch_size")) if at else None

    found += [
        ("depth", sorted(group, key=lambda cell: (depth(cell["model"]) or ("", 0))[1]))
        for group in _gather(cells, family)
    ]
    placed = [cell for _, group in found for cell in group]
    rest = [cell for cell in cells if cell not in placed]
    # Families of which only one depth was run are shown one after the other.
    return found + [("other", list(group)) for _, group in groupby(rest, lambda cell: cell["dataset"])]


def verdict(words: dict[str, str]) -> str:
    """Sum up a setting's verdicts: ``agrees`` if all do, ``differs`` if one does, ``n/a`` or a dash.

    Args:
        words: header of a metric -> its verdict.
    """
    judged = set(words.values()) - {NO_VERDICT}
    return next((word for word in (DIFFERS, UNDECIDED, AGREES) if word in judged), NO_VERDICT)


@register("batch_size_and_depth")
def build(request: Request) -> Table:
    """Build the table: one line per setting, blocks by victim and family."""
    measured = request.measured
    request.check([("ilrg", name) for name, _ in _JUDGED] + [("ilrg", name) for name in _EXTRA] + [_FLOOR])
    lines: list[Line] = []
    numbers = []
    for axis, group in blocks(measured.cells()):
        lines.append(Line(heading=_heading(request, axis, group[0]), rule=True))
        for cell in group:
            pairs = {header: request.find(cell, "ilrg", name, _PUBLISHED) for name, header in _JUDGED}
            words = {header: found.verdict(value.pi_low, value.pi_high) for header, (value, found) in pairs.items()}
            first = next(iter(pairs.values()))[0]
            cells = [_setting(request, axis, cell), tries(first)]
            for header, (value, found) in pairs.items():
                cells += [with_prediction(value), found.text() + ("*" if words[header] == DIFFERS else "")]
            cells += [verdict(words), plain(measured.value(cell, *_FLOOR))]
            lines.append(Line(tuple(cells)))
            row: dict[str, Any] = {"block": axis, **numeric_cell(cell)}
            for (name, _), (value, found) in zip(_JUDGED, pairs.values(), strict=True):
                row |= numeric_value(name, value, found)
            for name in _EXTRA:
                row |= numeric_value(name, measured.value(cell, "ilrg", name))
            for floor, name in _CSV_FLOORS:
                row[f"{floor.replace('-', '_')}_{name}"] = measured.value(cell, floor, name).mean
            numbers.append({**row, "verdict": verdict(words)})
    columns = [Column("Setting", align="l"), Column("n")]
    for _, header in _JUDGED:
        columns += [Column("measured", header), Column("publ.", header)]
    columns += [Column("Verdict", align="l"), Column("Blank", align="r")]
    return Table(CAPTION, NOTE, tuple(columns), tuple(lines), pd.DataFrame(numbers))


def _setting(request: Request, axis: str, cell: Cell) -> str:
    """What changes within a block."""
    model = request.labels.model.get(cell["model"], cell["model"])
    return {"batch size": f"B={cell['batch_size']}", "depth": model}.get(axis, f"{model}, B={cell['batch_size']}")


def _heading(request: Request, axis: str, cell: Cell) -> str:
    labels = request.labels
    where = f", {labels.where(cell)}" if labels.where(cell) else ""
    dataset = labels.dataset.get(cell["dataset"], cell["dataset"])
    if axis == "batch size":
        return f"Batch size: {labels.model.get(cell['model'], cell['model'])}, {dataset}{where}"
    if axis == "depth":
        family = depth(cell["model"])
        return f"Depth: {family[0] if family else cell['model']}, {dataset}, B={cell['batch_size']}{where}"
    return f"Single settings: {dataset}{where}"
