"""Tables of the paper, one file per kind.

:mod:`gradleak.report.tables.base` is the contract and the registry, :mod:`gradleak.report.tables.all` registers every
kind and re-exports ``build`` and ``kinds``.
"""
