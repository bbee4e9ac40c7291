"""Experiment 2: label restoration over batch size and depth, judged against the published figures."""

from collections.abc import Iterator
from itertools import groupby
from typing import Any

from gradleak.plan import catalogue
from gradleak.plan.catalogue.facts import MODEL_OPTIONS
from gradleak.plan.names import model_name
from gradleak.report.settings import options_of, part_of
from gradleak.report.tables.base import Request, Table
from gradleak.report.tables.judged import Group, judged

Cell = dict[str, Any]

CAPTION = "{attacks} over batch size and depth."


def depth(cell: Cell) -> tuple[str, int] | None:
    """Return the family and depth of a setting's model, None if it belongs to no family.

    The depth is the option for the number of hidden layers after the first, if there is one, else that of the kind.
    """
    if cell["model"] not in catalogue.names("models"):
        return None
    facts, options = catalogue.find("models", cell["model"]), options_of(cell)
    if not facts.family:
        return None
    has_layers = "n_hidden" in facts.options
    number = options.pop("n_hidden", MODEL_OPTIONS["n_hidden"]) if has_layers else facts.arguments["depth"]
    return model_name(facts.family, options), int(number)


def _same(cell: Cell, *parts: str) -> tuple[Any, ...]:
    return part_of(cell, *parts, "distribution", "stage", "defense")


def _gather(cells: list[Cell], key: Any) -> Iterator[list[Cell]]:
    """Group cells by key, in order of first appearance; drops single cells and those whose key is None."""
    keys = list(dict.fromkeys(key(cell) for cell in cells))
    for one in keys:
        group = [cell for cell in cells if key(cell) == one]
        if one is not None and len(group) > 1:
            yield group


def blocks(cells: list[Cell]) -> list[tuple[str, list[Cell]]]:
    """Arrange settings: over the batch size per victim, over the depth per family, then all others.

    Returns:
        (``batch size`` | ``depth`` | ``other``, settings in ascending order). A setting may be in both of the first
        two.
    """
    arranged = [
        ("batch size", sorted(group, key=lambda cell: cell["batch_size"]))
        for group in _gather(cells, lambda cell: _same(cell, "dataset", "model"))
    ]

    def family(cell: Cell) -> tuple[Any, ...] | None:
        at = depth(cell)
        return (at[0], *_same(cell, "dataset", "batch_size")) if at else None

    arranged += [
        ("depth", sorted(group, key=lambda cell: (depth(cell) or ("", 0))[1])) for group in _gather(cells, family)
    ]
    placed = [cell for _, group in arranged for cell in group]
    rest = [cell for cell in cells if cell not in placed]
    # Families with a single depth are shown one after another.
    return arranged + [("other", list(group)) for _, group in groupby(rest, lambda cell: cell["dataset"])]


def build(request: Request) -> Table:
    """Build the table: one line per setting, blocks by victim and family."""
    groups = [
        Group(_heading(request, axis, cells[0]), [(_setting(request, axis, cell), cell) for cell in cells])
        for axis, cells in blocks(request.measured.cells())
    ]
    return judged(request, groups, caption=CAPTION, experiments=("batch_size_and_depth",))


def _setting(request: Request, axis: str, cell: Cell) -> str:
    """Return what varies within a block."""
    model = request.labels.model_of(cell)
    return {"batch size": f"B={cell['batch_size']}", "depth": model}.get(axis, f"{model}, B={cell['batch_size']}")


def _heading(request: Request, axis: str, cell: Cell) -> str:
    labels = request.labels
    where = f", {labels.where(cell)}" if labels.where(cell) else ""
    dataset = labels.dataset_of(cell)
    if axis == "batch size":
        return f"Batch size: {labels.model_of(cell)}, {dataset}{where}"
    if axis == "depth":
        family = depth(cell)
        return f"Depth: {family[0] if family else cell['model']}, {dataset}, B={cell['batch_size']}{where}"
    return f"Single settings: {dataset}{where}"
