"""Wide tables are split into parts, whatever their columns are."""

import pandas as pd

from gradleak.report.tables.base import Column, Line, Table
from gradleak.report.tables.render import parts


def test_columns_that_each_fill_a_part_are_one_part_each():
    wide = "x" * 60
    columns = (Column("Setting"), *(Column(wide) for _ in range(3)))
    table = Table("", "", columns, (Line(("a", wide, wide, wide)),), pd.DataFrame())
    assert parts(table) == [[0, 1], [0, 2], [0, 3]]
