"""What is wrong with a table that a plug-in builds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    from gradleak.report.tables.base import Table


def fault(table: Table) -> str | None:
    """Return why a table cannot be written, in a few words; None if it can."""
    for name in ("caption", "note"):
        if not isinstance(getattr(table, name), str):
            return f"its {name} is a {type(getattr(table, name)).__name__}; give plain text"
    if not isinstance(table.numbers, pd.DataFrame):
        return f"its numbers are a {type(table.numbers).__name__}; give a pandas.DataFrame"
    if not table.columns:
        return "it has no columns"
    for number, line in enumerate(table.lines, start=1):
        if line.heading and not line.cells:
            continue
        if len(line.cells) != len(table.columns):
            return f"line {number} has {len(line.cells)} cells; it has {len(table.columns)} columns"
        other = next((cell for cell in line.cells if not isinstance(cell, str)), None)
        if other is not None:
            return f"line {number} has the cell {other!r}, a {type(other).__name__}; cells are text"
    return None
