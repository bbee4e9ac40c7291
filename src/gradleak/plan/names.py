"""Readable names for several options or columns of results together; written in run ids and tables, never parsed.

A setting's columns are in :class:`gradleak.records.Setting`.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

UNDEFENDED = "none"
"""The name for no defense, in configurations and results."""


def shortest(value: float) -> str:
    """Return the shortest text that reads back as exactly this number, without a plus sign, e.g. ``4``, ``1e16``."""
    return repr(float(value)).removesuffix(".0").replace("e+", "e")


def canonical(options: Mapping[str, Any]) -> str:
    """Return options as in the column ``model_options``: a JSON object."""
    return json.dumps(options, separators=(",", ":"))


def model_name(model: str, options: Mapping[str, Any]) -> str:
    """Return an architecture with its options in their order, e.g. ``fcn-n_hidden=3`` or ``lenet5-silu``."""
    parts = [model]
    for name, value in options.items():
        parts.append(name if value is True else f"{name}={value}" if isinstance(value, int) else str(value))
    return "-".join(parts)


def distribution_name(distribution: str, classes: int) -> str:
    """Return a distribution with its number of classes, if it has one, e.g. ``balanced-32``."""
    return f"{distribution}-{classes}" if classes else distribution


def composition(defenses: Iterable[str]) -> str:
    """Return defenses in order, e.g. ``clip-4+dp-0.01``, or :data:`UNDEFENDED`."""
    return "+".join(defenses) or UNDEFENDED
