"""Figures of the paper, one file per kind; :mod:`gradleak.report.figures.base` makes one by name."""
