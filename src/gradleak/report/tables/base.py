"""Tables, the input of their builders, and tables by name."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from gradleak.errors import InputError
from gradleak.plan import catalogue, plugins
from gradleak.records import CELL, NOT_APPLICABLE
from gradleak.report import published_images, settings
from gradleak.report.attacks import Attacks, attacks_with, check_attacks
from gradleak.report.gpu import Elsewhere
from gradleak.report.published import NO_VERDICT, Match, match
from gradleak.report.settings import Cell
from gradleak.report.summary import Measured, Value
from gradleak.report.tables.valid import fault
from gradleak.report.tex import figure, listing

MISSING = "?"
"""Text of a cell without rows in a draft."""

WITHHELD = "n/a"
"""Text for an attack that was not applicable."""

WITHHELD_NOTE = (
    "n/a: not applicable, because the client does not send a gradient that the attack needs; such tries do not count "
    "towards n, means or intervals."
)
"""Note of tables with such cells."""

TOLD_NOTES = {"present_classes": "{method} is told which classes are in the batch."}
"""Side knowledge -> note of tables with an attack that needs it."""

RANGE_NOTE = "Intervals are clipped to the range of their metric. "
"""Part of the note of a table with intervals."""


@dataclass(frozen=True)
class Column:
    """A column of the readable table.

    Attributes:
        header: its title, plain text.
        group: common title of adjacent columns; empty for none.
        align: ``l``, ``c`` or ``r``.
    """

    header: str
    group: str = ""
    align: str = "c"


@dataclass(frozen=True)
class Line:
    """A line of the readable table: cells of plain text, or a heading across all columns.

    Attributes:
        cells: one text per column; empty for a heading.
        heading: text across all columns.
        rule: whether a rule separates it from the line above.
    """

    cells: tuple[str, ...] = ()
    heading: str = ""
    rule: bool = False


@dataclass(frozen=True)
class Table:
    """A table that can be written as CSV, Markdown and LaTeX.

    Attributes:
        caption: what it shows, plain text.
        note: how to read it, plain text; empty for none.
        columns: of the readable forms.
        lines: of the readable forms.
        numbers: the same values in full precision, one row per setting, for the CSV form.
        long: whether it may run over several pages.
    """

    caption: str
    note: str
    columns: tuple[Column, ...]
    lines: tuple[Line, ...]
    numbers: pd.DataFrame
    long: bool = False


@dataclass(frozen=True)
class Labels:
    """Labels of data sets, models, methods and defenses in tables and figures; an id without a label is used as is.

    ``told`` maps methods to their side knowledge.
    """

    dataset: Mapping[str, str] = field(default_factory=dict)
    model: Mapping[str, str] = field(default_factory=dict)
    method: Mapping[str, str] = field(default_factory=dict)
    defense: Mapping[str, str] = field(default_factory=dict)
    told: Mapping[str, str] = field(default_factory=dict)

    def model_of(self, cell: Cell) -> str:
        """Return the model of a setting, e.g. ``FCN-3``."""
        name = settings.model_of(cell)
        return self.model.get(name, name)

    def dataset_of(self, cell: Cell) -> str:
        """Return the data set of a setting, e.g. ``MNIST``."""
        return self.dataset.get(cell["dataset"], cell["dataset"])

    def defended(self, cell: Cell) -> str:
        """Return the defense of a setting, e.g. ``clipping at 4 + noise 1e-2 (all layers)``."""
        name = self.defense.get(cell["defense"], cell["defense"])
        return f"{name} (all layers)" if cell["defense_scope"] == "all" else name

    def part(self, cell: Cell, part: str) -> str:
        """Return one part of a setting (:data:`gradleak.report.settings.PARTS`) in words."""
        match part:
            case "model":
                return self.model_of(cell)
            case "dataset":
                return self.dataset_of(cell)
            case "batch_size":
                return f"B={cell['batch_size']}"
            case "defense":
                return self.defended(cell)
            case _:
                return settings.words_of(cell, part)

    def where(self, cell: Cell, without: Collection[str] = ()) -> str:
        """Return what distinguishes the cell from random batches of an untrained, undefended victim."""
        parts = (name for name in settings.PARTS if name not in without and not settings.is_usual(cell, name))
        unusual = (name for name in sorted(parts, key=_place) if name not in _ALWAYS)
        return ", ".join(self.part(cell, name) for name in unusual)

    def setting(self, cell: Cell, *, without: Collection[str] = ()) -> str:
        """Return a setting in words, e.g. ``FCN-3, MNIST, B=64``, leaving out some parts."""
        always = [self.part(cell, name) for name in _ALWAYS if name not in without]
        return ", ".join(filter(None, [*always, self.where(cell, without)]))


_ALWAYS = ("model", "dataset", "batch_size")
"""Parts that every setting's description includes."""

_ORDER = ("distribution", "aggregated", "stage", "defense", "precision")


def _place(part: str) -> int:
    """Sort key: the position of a part among those that differ from their defaults."""
    return _ORDER.index(part) if part in _ORDER else len(_ORDER)


@dataclass(frozen=True)
class Request:
    """The input of a builder.

    Attributes:
        measured: the cells of the table's experiments.
        published: one row per published figure, see :func:`gradleak.report.published.load`.
        rerun: the rerun of the released code, see :func:`gradleak.report.published.load_rerun`.
        labels: names in tables and figures.
        draft: whether missing cells are shown instead of refused.
        name: the table's name in the configuration, for messages.
        published_images: one row per published reconstruction, see :func:`gradleak.report.published_images.load`.
        policies: run id -> how an image attack gets its labels; other runs are not compared in pairs.
        metrics: metrics to show in place of the table's own; empty for its own.
        gpu: what a GPU measured elsewhere, see :func:`gradleak.report.gpu.load`; None if nothing.
    """

    measured: Measured
    published: pd.DataFrame
    rerun: pd.DataFrame
    labels: Labels
    draft: bool
    name: str
    published_images: pd.DataFrame = field(default_factory=published_images.empty)
    policies: Mapping[str, str] = field(default_factory=dict)
    metrics: tuple[str, ...] = ()
    gpu: Elsewhere | None = None

    def attacks(self, metrics: Sequence[str], also: Sequence[str] = ()) -> Attacks:
        """Return the attacks with any of some metrics, in the order of the configuration, each with its metrics.

        Args:
            metrics: the metrics of the table.
            also: further metrics, shown for those attacks that have them.

        Raises:
            InputError: a cell is missing and this is not a draft, or no attack has the metrics.
        """
        attacks = attacks_with(self.measured, metrics, self.labels.method)
        if not self.draft:
            known = self.measured.metrics
            all_of = {name: tuple(metric for metric in (*metrics, *also) if metric in known[name]) for name in attacks}
            check_attacks(self.measured, all_of, f"table {self.name}", metrics, every=bool(self.metrics))
        return attacks

    def named(self, attacks: Iterable[str]) -> str:
        """Return attacks in words, e.g. ``iLRG, iDLG and GI``."""
        return listing([self.labels.method.get(name, name) for name in attacks])

    def find(self, cell: dict[str, Any], method: str, metric: str, experiments: tuple[str, ...]) -> tuple[Value, Match]:
        """Return the measured value and the published figures beside it."""
        return (
            self.measured.value(cell, method, metric),
            match(self.published, cell, method, metric, experiments),
        )


_NOTHING = {"missing": MISSING, NOT_APPLICABLE: WITHHELD}
"""Basis of a value without a measurement -> its text in tables."""


def build(
    kind: str,
    frame: pd.DataFrame,
    published: pd.DataFrame,
    labels: Labels,
    *,
    rerun: pd.DataFrame | None = None,
    images: pd.DataFrame | None = None,
    policies: Mapping[str, str] | None = None,
    metrics: Sequence[str] = (),
    gpu: Elsewhere | None = None,
    draft: bool = False,
    caption: str | None = None,
    name: str | None = None,
) -> Table:
    """Build a table.

    Args:
        kind: name of the table in the catalogue.
        frame: rows of its experiments, each value once (:func:`gradleak.report.summary.read_experiments`).
        published: the result of :func:`gradleak.report.published.load`.
        labels: names in tables and figures.
        rerun: the result of :func:`gradleak.report.published.load_rerun`; none if omitted.
        images: the result of :func:`gradleak.report.published_images.load`; none if omitted.
        policies: run id -> how an image attack gets its labels; without it nothing is compared in pairs.
        metrics: metrics to show in place of the table's own.
        gpu: the result of :func:`gradleak.report.gpu.load`; none if omitted.
        draft: show missing cells as ``?`` instead of refusing them.
        caption: replaces the table's own.
        name: the table's name in messages (default: ``kind``).

    Raises:
        InputError: an unknown table, or a required cell is missing and this is not a draft.
    """
    builder = catalogue.load("tables", kind)
    if rerun is None:
        columns = ["source_log", "method", "metric"]
        rerun = pd.DataFrame(columns=[*columns, *(f"rerun_{part}" for part in ("mean", "sd", "n", "low", "high"))])
    images = published_images.empty() if images is None else images
    request = Request(
        Measured(frame), published, rerun, labels, draft, name or kind, images, policies or {}, tuple(metrics), gpu
    )
    with plugins.guarded("tables", kind, f"table {request.name}"):
        table: object = builder(request)
    if not isinstance(table, Table):
        raise InputError(f"table {request.name}: its builder returns {type(table).__name__}; return a Table")
    if wrong := fault(table):
        raise InputError(f"table {request.name}: {wrong}")
    withholds = NOT_APPLICABLE in set(frame["status"])
    if withholds and any(value == WITHHELD for line in table.lines for value in line.cells):
        table = replace(table, note=f"{table.note} {WITHHELD_NOTE}".strip())
    for method in frame["method"].unique():
        for side in filter(None, labels.told.get(method, "").split(", ")):
            note = TOLD_NOTES[side].format(method=labels.method.get(method, method))
            table = replace(table, note=f"{table.note} {note}".strip())
    return table if caption is None else replace(table, caption=caption)


def judgement(value: Value, published: Match) -> str:
    """Return whether the published figures lie in the prediction interval; a dash if there is nothing to judge."""
    return NO_VERDICT if value.basis in _NOTHING else published.verdict(value.pi_low, value.pi_high)


def tries(value: Value) -> str:
    """Return n as ``3×20``: initialisations times tries that count, and how many diverged."""
    if value.basis in _NOTHING:
        return _NOTHING[value.basis]
    m, n = value.n_initialisations, value.n_trials
    shown = f"{m}×{n // m}" if m and n % m == 0 else f"{m} init., {n} tries" if m else "0"
    return f"{shown} ({value.n_diverged} div.)" if value.n_diverged else shown


def with_confidence(value: Value) -> str:
    """Return ``mean [low, high]``: the 95 % interval of the mean."""
    interval = f"[{_figure(value, value.ci_low)}, {_figure(value, value.ci_high)}]"
    return _shown(value, f"{_figure(value, value.mean)} {interval}")


def with_prediction(value: Value) -> str:
    """Return ``mean [low, high]``: the prediction interval, or, after ``t:``, the interval over tries."""
    if value.basis == "trials":
        low, high, mark = value.ci_low, value.ci_high, "t: "
    else:
        low, high, mark = value.pi_low, value.pi_high, ""
    return _shown(value, f"{_figure(value, value.mean)} [{mark}{_figure(value, low)}, {_figure(value, high)}]")


def plain(value: Value) -> str:
    """Return the mean alone."""
    mean = _figure(value, value.mean)
    return _shown(value, mean, mean)


def _figure(value: Value, of_it: float) -> str:
    return figure(value.metric, of_it)


def _shown(value: Value, full: str, alone: str = "") -> str:
    """Return ``full``, or ``alone`` (by default the mean) if there is no interval, or why there is no value."""
    if value.basis in _NOTHING:
        return _NOTHING[value.basis]
    if value.n_trials == 0:
        return "diverged"
    return full if value.basis != "none" else alone or _figure(value, value.mean)


def numeric_cell(cell: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns of a setting in the CSV form."""
    return {name: cell[name] for name in CELL}


def numeric_value(prefix: str, value: Value, published: Match | None = None) -> dict[str, Any]:
    """Return the columns of a metric in the CSV form, each beginning with ``prefix``."""
    names = (
        "mean",
        "sd",
        "n_initialisations",
        "n_trials",
        "n_diverged",
        "n_not_applicable",
        "ci_low",
        "ci_high",
        "pi_low",
        "pi_high",
    )
    columns: dict[str, Any] = {f"{prefix}_{name}": getattr(value, name) for name in names}
    if published is not None:
        columns[f"{prefix}_published"] = published.mean
        columns[f"{prefix}_published_values"] = "/".join(published.shown())
        columns[f"{prefix}_published_batch_size"] = published.batch_size if published.values else np.nan
        columns[f"{prefix}_verdict"] = judgement(value, published)
    return columns
