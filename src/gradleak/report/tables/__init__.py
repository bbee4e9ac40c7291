"""Tables of the paper, one file per kind; :mod:`gradleak.report.tables.base` makes one by name."""
