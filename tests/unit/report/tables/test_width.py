"""Tables wider than a page, in print."""

import re
import shutil
import subprocess

import pandas as pd
import pytest

from gradleak.report.tables.base import Column, Line, Table
from gradleak.report.tables.render import parts, to_latex

HAS_TEX = shutil.which("pdflatex") is not None
CELL = "0.123 [0.123, 0.456]"


def wide(groups: int, lines: int = 2) -> Table:
    """A key, groups of two columns each, and a verdict."""
    columns = [Column("Setting", align="l")]
    columns += [Column(name, f"G{number}") for number in range(groups) for name in ("measured", "publ.")]
    cells = ("some setting", *[CELL] * (2 * groups), "differs")
    made = (Line(heading="Heading", rule=True), *[Line(cells)] * lines)
    return Table("C", "N", (*columns, Column("Verdict")), made, pd.DataFrame())


def test_parts_keep_groups_together_and_begin_with_the_keys():
    split = parts(wide(4))
    assert len(split) == 2
    assert [part[0] for part in split] == [0, 0]
    assert [number for part in split for number in part[1:]] == list(range(1, 10))
    assert split[1][1] % 2 == 1  # the first column of a group
    assert len(parts(wide(1))) == 1


def test_a_group_that_is_too_wide_is_split_by_columns():
    columns = (Column("Setting"), *[Column(str(number), "Group") for number in range(9)])
    table = Table("C", "", columns, (Line(("x", *[CELL] * 9)),), pd.DataFrame())
    split = parts(table)
    assert [number for part in split for number in part[1:]] == list(range(1, 10))
    assert max(map(len, split)) - min(map(len, split)) <= 1  # balanced widths


def test_nothing_is_set_smaller_than_8_points(paper_folder):
    template = paper_folder / "templates" / "table.tex.j2"
    for text in (template.read_text(encoding="utf-8"), to_latex(wide(4), "t", template)):
        assert not re.findall(r"\\(?:scriptsize|tiny|resizebox|scalebox)\b", text)


@pytest.mark.latex
@pytest.mark.skipif(not HAS_TEX, reason="no pdflatex: `make tex` installs it")
@pytest.mark.parametrize(("groups", "lines", "floats"), [(1, 2, 1), (3, 2, 1), (5, 2, 1), (5, 30, 3)])
def test_tables_fit_the_page(groups, lines, floats, paper_folder, tmp_path):
    latex = to_latex(wide(groups, lines), "t", paper_folder / "templates" / "table.tex.j2")
    text = rf"\documentclass{{article}}\input{{preamble.tex}}\begin{{document}}{latex}\end{{document}}"
    (tmp_path / "t.tex").write_text(text)
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin:/usr/local/bin", "TEXINPUTS": f".:{paper_folder}:", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        errors="replace",
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:]
    assert not re.findall(r"(?:Overfull|Float too large).*", done.stdout)
    assert f"({floats} page" in done.stdout
