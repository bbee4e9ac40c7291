"""The forms of a table: wide ones in parts, and the user's strings made safe for pages and spreadsheets."""

import io

import pandas as pd
import pytest

from gradleak.report.tables.base import Column, Line, Table
from gradleak.report.tables.render import parts, to_csv, to_html, to_markdown


def test_columns_that_each_fill_a_part_are_one_part_each():
    wide = "x" * 60
    columns = (Column("Setting"), *(Column(wide) for _ in range(3)))
    table = Table("", "", columns, (Line(("a", wide, wide, wide)),), pd.DataFrame())
    assert parts(table) == [[0, 1], [0, 2], [0, 3]]


def odd(text: str) -> Table:
    """Return a table of one line with the user's strings."""
    columns = (Column("Setting", align="l"), Column("LeAcc"))
    numbers = pd.DataFrame({"group": [text], "leacc_mean": [-0.5], text: [3]})
    return Table(text, text, columns, (Line(heading=text), Line((text, "−0.5"))), numbers)


@pytest.mark.parametrize(
    "text",
    [
        "=1+1",
        "+1",
        "-1",
        "@SUM(A1)",
        "\t=1",
        "\r=1",
        "\uff1d1",
        "\uff0b1",
        "\uff0d1",
        "\uff201",
        '=HYPERLINK("http://x","y")',
    ],
)
def test_strings_cannot_become_spreadsheet_formulas(text):
    back = pd.read_csv(io.StringIO(to_csv(odd(text)), newline=""))
    assert back["group"].to_list() == ["'" + text.strip()]
    assert back.columns[2] == "'" + text.strip()
    assert back["leacc_mean"].to_list() == [-0.5]  # a number stays a number


def test_other_strings_are_unchanged():
    assert pd.read_csv(io.StringIO(to_csv(odd("FCN-3, a=b"))))["group"].to_list() == ["FCN-3, a=b"]


def test_strings_are_escaped_for_html(paper_folder):
    made = odd("a </script><b>\n| c")
    page = to_html(made, "one", paper_folder.parent / "workflow" / "report" / "table.html.j2")
    assert "<script" not in page
    assert "</script" not in page
    text = to_markdown(made)
    assert text.count("<") == text.count("\\<") > 0
    assert text.splitlines()[-1] == "a \\</script>\\<b> | c"
    assert "| a \\</script>\\<b> \\| c | −0.5 |" in text
