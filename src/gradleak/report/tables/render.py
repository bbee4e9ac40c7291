"""The four forms of a table: CSV in full precision, Markdown, HTML, LaTeX."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

import jinja2

from gradleak.report import markdown
from gradleak.report.tables.base import Table
from gradleak.report.tex import fill

_FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""Characters that a spreadsheet takes for the start of a formula, and their full-width forms, which some read alike."""

# Points: the largest width of a part of a table, a narrow and a normal letter of 8 pt, the space between two columns,
# and the steps in which the widths of parts are balanced.
_PART, _NARROW, _LETTER, _BETWEEN, _STEP = 490.0, 2.6, 4.3, 7.0, 5.0


def to_csv(table: Table) -> str:
    """Return the numbers in full precision; NaN is an empty field.

    A string that a spreadsheet would run as a formula is prefixed with an apostrophe, as OWASP recommends against CSV
    injection; numbers stay numbers. Strings are put on one line, since the csv module does not quote every line break.
    """
    return table.numbers.map(_inert).rename(columns=_inert).to_csv(index=False, lineterminator="\n")


def _inert(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    text = " ".join(value.splitlines()).strip()  # a spreadsheet may skip spaces before a formula
    return f"'{text}" if text.startswith(_FORMULA) else text


def to_markdown(table: Table) -> str:
    """Return caption, pipe table and note, with HTML escaped."""

    def row(cells: list[str] | tuple[str, ...]) -> str:
        return "| " + " | ".join(map(markdown.cell, cells)) + " |"

    width = len(table.columns)
    headers = [f"{column.group} {column.header}".strip() or " " for column in table.columns]
    marks = {"l": ":--", "c": ":-:", "r": "--:"}
    lines = [markdown.plain(table.caption), "", row(headers), row([marks[column.align] for column in table.columns])]
    lines += [row((f"**{line.heading}**", *[""] * (width - 1)) if line.heading else line.cells) for line in table.lines]
    return "\n".join([*lines, *(["", markdown.plain(table.note)] if table.note else [])]) + "\n"


def to_html(table: Table, name: str, template: Path) -> str:
    """Return a self-contained page for the report.

    Args:
        table: the table.
        name: its name in the configuration.
        template: ``workflow/report/table.html.j2``.
    """
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, undefined=jinja2.StrictUndefined)
    return environment.from_string(template.read_text(encoding="utf-8")).render(table=table, name=name) + "\n"


def to_latex(table: Table, name: str, template: Path) -> str:
    r"""Return a floating table, or a longtable, labelled ``tab:name``.

    No text is smaller than 8 pt in a 10 pt document. If a floating table would be too wide, TeX, which knows the actual
    width, sets its parts below each other (:func:`parts`).

    Args:
        table: the table.
        name: its name in the configuration.
        template: ``paper/templates/table.tex.j2``.

    Raises:
        InputError: the template is missing or faulty, or a text cannot be typeset.
    """
    whole = _part(table, range(len(table.columns)))
    split = [] if table.long else [_part(table, columns) for columns in parts(table)]
    return fill(template, table=table, name=name, whole=whole, parts=split if len(split) > 1 else [])


def parts(table: Table, width: float = _PART) -> list[list[int]]:
    """Split the columns into parts that fit a page.

    Groups of columns stay together if possible. The columns before the first group identify a line, so each part begins
    with them.

    Args:
        table: the table.
        width: the largest width of a part, in points.

    Returns:
        The numbers of the columns of each part.
    """
    widths = [_width(table, number) for number in range(len(table.columns))]
    keys, *units = _units(table)
    room = width - sum(widths[number] for number in keys)
    # A group wider than a part is split column by column.
    units = [
        part
        for unit in units
        for part in ([unit] if sum(widths[number] for number in unit) <= room else [[number] for number in unit])
    ]
    filled = _filled(units, widths, room)
    # Balance the widths of parts, unless every unit has a part of its own.
    while len(filled) < len(units) and len(balanced := _filled(units, widths, room - _STEP)) == len(filled):
        filled, room = balanced, room - _STEP
    return [keys + columns for columns in filled]


def _filled(units: list[list[int]], widths: list[float], room: float) -> list[list[int]]:
    """Fill parts with units of columns, in their order; a part holds at least one."""
    filled: list[list[int]] = []
    for unit in units:
        if filled and sum(widths[number] for number in [*filled[-1], *unit]) <= room:
            filled[-1] += unit
        else:
            filled.append(list(unit))
    return filled


def _units(table: Table) -> list[list[int]]:
    """Return the columns before the first group, then each group, or each column without one."""
    first = next((number for number, column in enumerate(table.columns) if column.group), 1)
    units = [list(range(first))]
    for number in range(first, len(table.columns)):
        group = table.columns[number].group
        if group and group == table.columns[number - 1].group and number > first:
            units[-1].append(number)
        else:
            units.append([number])
    return units


def _width(table: Table, number: int) -> float:
    """Estimate the width of a column in points; headings across all columns do not count."""
    texts = [table.columns[number].header, *(line.cells[number] for line in table.lines if line.cells)]
    return max(sum(_NARROW if letter in " .,:;[]()ilt" else _LETTER for letter in text) for text in texts) + _BETWEEN


def _part(table: Table, numbers: Sequence[int]) -> dict[str, Any]:
    """Return the template's values for some columns."""
    columns = [table.columns[number] for number in numbers]
    groups: list[dict[str, Any]] = []
    first = 1
    for title, members in groupby(columns, lambda column: column.group):
        span = len(list(members))
        # A column without a group is separate, so that the header line has one field per column.
        for of_one in [span] if title else [1] * span:
            groups.append({"title": title, "span": of_one, "first": first, "last": first + of_one - 1})
            first += of_one
    if not any(group["title"] for group in groups):
        groups = []
    lines = [replace(line, cells=tuple(line.cells[number] for number in numbers if line.cells)) for line in table.lines]
    alignment = "".join(column.align for column in columns)
    return {"columns": columns, "groups": groups, "alignment": alignment, "lines": lines}
