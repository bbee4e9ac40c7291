"""Parts of a setting, some of which have several columns, and settings that differ in only one part."""

import json
from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any

import pandas as pd

from gradleak.plan.names import model_name
from gradleak.records import CELL, Setting

_SEVERAL = {
    "model": ("model", "model_options"),
    "stage": ("stage_unit", "stage_number", "checkpoint"),
    "distribution": ("distribution", "distribution_classes"),
    "defense": ("defense", "defense_scope"),
}
"""Part -> its columns; any other column of :data:`gradleak.records.CELL` is a part of its own."""

_USUAL = {field.name: field.default for field in fields(Setting) if field.default is not MISSING}

PARTS = tuple(dict.fromkeys(next((part for part, names in _SEVERAL.items() if name in names), name) for name in CELL))
"""All parts, in the order of their columns."""

Cell = Mapping[str, Any]


def columns_of(part: str) -> tuple[str, ...]:
    """Return the columns of a part."""
    return _SEVERAL.get(part, (part,))


def part_of(cell: Cell, *parts: str) -> tuple[Any, ...]:
    """Return the values of some parts as a key: equal for settings that agree in these parts."""
    return tuple(cell[name] for part in parts for name in columns_of(part))


def without(cell: Cell, *parts: str) -> tuple[Any, ...]:
    """Return all values except those of some parts as a key: equal for settings that differ only in these parts."""
    left_out = {name for part in parts for name in columns_of(part)}
    return tuple(cell[name] for name in CELL if name not in left_out)


def is_usual(cell: Cell, part: str) -> bool:
    """Whether a part has its default, e.g. an untrained victim; true for parts without a default."""
    return all(cell[name] == _USUAL.get(name, cell[name]) for name in columns_of(part))


def options_of(cell: Cell) -> dict[str, Any]:
    """Return the options of the model that differ from its defaults."""
    return json.loads(cell["model_options"])


def model_of(cell: Cell) -> str:
    """Return the model in one word, e.g. ``fcn-n_hidden=3``, the key of its label."""
    return model_name(cell["model"], options_of(cell))


def models_of(frame: pd.DataFrame) -> list[str]:
    """Return the models of some rows, each once, named as by :func:`model_of`."""
    rows: Any = frame[["model", "model_options"]].drop_duplicates()
    return [model_of(row) for row in rows.to_dict("records")]


def words_of(cell: Cell, part: str) -> str:
    """Return a part in words, for parts without labels in the configuration.

    E.g. ``100 iterations``, ``balanced, 32 classes``, ``4 clients aggregated``.
    """
    match part:
        case "stage" if cell["checkpoint"]:
            return f"checkpoint-{cell['checkpoint']}"
        case "stage" if not cell["stage_unit"]:
            return "untrained"
        case "stage":
            counted = {"epoch": "epoch", "iter": "iteration"}[cell["stage_unit"]]
            return f"{cell['stage_number']} {counted}{'s' if cell['stage_number'] != 1 else ''}"
        case "distribution":
            classes = cell["distribution_classes"]
            return cell["distribution"].replace("_", " ") + (f", {classes} classes" if classes else "")
        case "precision":
            return f"sent as {cell['precision']}"
        case "aggregated":
            return f"{cell['aggregated']} clients aggregated"
        case _:
            return ", ".join(f"{name.replace('_', ' ')} {cell[name]}" for name in columns_of(part))
