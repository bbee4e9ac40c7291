"""Figures of the paper, one file per kind.

:mod:`gradleak.figures.base` is the contract and the registry; :mod:`gradleak.figures.all` registers every
kind and re-exports ``build``, ``find`` and ``kinds``.
"""
