"""Markdown of the repository: tables that are tables wherever it is rendered."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_CELL_END = re.compile(r"(?<!\\)\|")
_RULE = re.compile(r"\|(\s*:?-+:?\s*\|)+")


def faults(text: str) -> list[str]:
    """Return the lines that begin with a pipe but are not lines of one table, such as those below a blank line."""
    found, width, above = [], 0, ""
    lines = iter(enumerate(re.sub(r"^```.*?^```$", _blank, text, flags=re.M | re.S).splitlines(), start=1))
    for number, line in lines:
        if line.startswith("|"):
            cells = len(_CELL_END.findall(line))
            if not above.startswith("|"):
                _, rule = next(lines, (0, ""))
                width = cells
                if above or not _RULE.fullmatch(rule) or len(_CELL_END.findall(rule)) != width:
                    found.append(f"{number}: no table begins here: {line}")
            elif cells != width:
                found.append(f"{number}: {cells - 1} cells in place of {width - 1}: {line}")
        above = line
    return found


def _blank(code: re.Match[str]) -> str:
    return "\n" * code[0].count("\n")


def documents() -> list[Path]:
    folders = [ROOT / name for name in ("bench", "config", "docs", "paper")]
    return sorted([*ROOT.glob("*.md"), *(path for folder in folders for path in folder.rglob("*.md"))])


@pytest.mark.parametrize("path", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_tables_are_whole(path):
    assert faults(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("| a | b |\n|---|:-:|\n| 1 | 2 \\| 3 |\n", []),
        ("| a |\n|---|\n| 1 |\n\n| 2 |\n| 3 |\n", ["5"]),
        ("Text\n| a |\n|---|\n| 1 |\n", ["2"]),
        ("| a |\n|---|\n| 1 | 2 |\n", ["3"]),
        ("```\n| a\n```\n", []),
    ],
)
def test_what_breaks_a_table_is_found(text, lines):
    assert [fault.partition(":")[0] for fault in faults(text)] == lines
