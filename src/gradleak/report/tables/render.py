"""A table four times: CSV in full precision, Markdown, HTML, LaTeX."""

from itertools import groupby
from pathlib import Path
from typing import Any

import jinja2

from gradleak.report.tables.base import Table
from gradleak.report.tex import fill

_FORMULA = ("=", "+", "-", "@")
"""What a spreadsheet takes for the beginning of a formula."""


def to_csv(table: Table) -> str:
    """Return the numbers in full precision; NaN is an empty field.

    A text that a spreadsheet would run as a formula gets an apostrophe before it, as OWASP recommends against CSV
    injection; numbers stay numbers. A text is on one line, for the csv module does not quote every line break.
    """
    return table.numbers.map(_inert).rename(columns=_inert).to_csv(index=False, lineterminator="\n")


def _inert(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    text = " ".join(value.splitlines()).strip()  # a spreadsheet may skip blanks before a formula
    return f"'{text}" if text.startswith(_FORMULA) else text


def to_markdown(table: Table) -> str:
    """Return caption, pipe table and note, in which no text is taken for HTML."""

    def row(cells: list[str] | tuple[str, ...]) -> str:
        return "| " + " | ".join(_plain_markdown(cell).replace("|", "\\|") for cell in cells) + " |"

    width = len(table.columns)
    headers = [f"{column.group} {column.header}".strip() or " " for column in table.columns]
    marks = {"l": ":--", "c": ":-:", "r": "--:"}
    lines = [_plain_markdown(table.caption), "", row(headers), row([marks[column.align] for column in table.columns])]
    lines += [row((f"**{line.heading}**", *[""] * (width - 1)) if line.heading else line.cells) for line in table.lines]
    return "\n".join([*lines, *(["", _plain_markdown(table.note)] if table.note else [])]) + "\n"


def _plain_markdown(text: str) -> str:
    return " ".join(text.splitlines()).replace("<", "\\<")


def to_html(table: Table, name: str, template: Path) -> str:
    """Return a page that needs no other file, for the report.

    Args:
        table: what to write.
        name: of the table in the configuration.
        template: ``workflow/report/table.html.j2``.
    """
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, undefined=jinja2.StrictUndefined)
    return environment.from_string(template.read_text(encoding="utf-8")).render(table=table, name=name) + "\n"


def to_latex(table: Table, name: str, template: Path) -> str:
    r"""Return a floating table, or a longtable, labelled ``tab:name``.

    Args:
        table: what to write.
        name: of the table in the configuration.
        template: ``paper/templates/table.tex.j2``.

    Raises:
        InputError: the template is missing or faulty, or a text cannot be typeset.
    """
    groups: list[dict[str, Any]] = []
    first = 1
    for title, members in groupby(table.columns, lambda column: column.group):
        span = len(list(members))
        # A column without a group stands alone, so that the header line has one field per column.
        parts = [span] if title else [1] * span
        for part in parts:
            groups.append({"title": title, "span": part, "first": first, "last": first + part - 1})
            first += part
    if not any(group["title"] for group in groups):
        groups = []
    alignment = "".join(column.align for column in table.columns)
    return fill(template, table=table, name=name, groups=groups, alignment=alignment)
