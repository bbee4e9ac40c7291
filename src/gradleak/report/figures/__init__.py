"""Figures of the paper, one file per kind.

:mod:`gradleak.report.figures.base` is the contract and the registry; :mod:`gradleak.report.figures.all` registers every
kind and re-exports ``build``, ``find`` and ``kinds``.
"""
