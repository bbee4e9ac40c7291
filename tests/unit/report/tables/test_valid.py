"""A table that a plug-in builds and that cannot be written is one line."""

from dataclasses import replace

import pandas as pd
import pytest

from gradleak.report.tables.base import Column, Line, Table
from gradleak.report.tables.valid import fault

GOOD = Table("Caption.", "", (Column("a"), Column("b")), (Line(heading="H"), Line(("x", "y"))), pd.DataFrame())


def test_a_table_with_a_text_for_each_column_is_valid():
    assert fault(GOOD) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lines": (Line(("x",)),)}, "line 1 has 1 cells; it has 2 columns"),
        ({"lines": (Line(("x", "y")), Line(("x", 3)))}, "line 2 has the cell 3, a int; cells are text"),  # pyright: ignore
        ({"numbers": [1]}, "its numbers are a list; give a pandas.DataFrame"),
        ({"caption": None}, "its caption is a NoneType; give plain text"),
        ({"columns": ()}, "it has no columns"),
    ],
)
def test_faults_are_named(change, message):
    assert fault(replace(GOOD, **change)) == message
