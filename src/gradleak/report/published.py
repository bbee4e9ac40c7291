"""Published figures under our identifiers, and the choice of those that belong beside a measured cell."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gradleak.errors import InputError
from gradleak.plan import catalogue, metric_facts
from gradleak.plan.jobs.options import VictimOptions, defense_name
from gradleak.plan.jobs.training import stage_parts
from gradleak.plan.names import canonical, shortest
from gradleak.records import CELL, NOT_APPLICABLE, Setting
from gradleak.report.statistics import AGREES, DIFFERS, UNDECIDED, verdicts
from gradleak.report.tex import figure

VALUES: dict[str, tuple[str, str]] = {
    "ilrg_leacc": ("ilrg", "leacc"),
    "ilrg_lnacc": ("ilrg", "lnacc"),
    "ilrg_irec": ("ilrg", "irec"),
    "idlg_leacc": ("idlg", "leacc"),
    "gi_leacc": ("gi", "leacc"),
    "rlg_leacc": ("rlg", "leacc"),
    "embedding_cosine": ("ilrg", "embedding_cosine"),
    "output_cosine": ("ilrg", "output_cosine"),
    "probability_cosine": ("ilrg", "probability_cosine"),
    **{
        name: ("ilrg", name)
        for name in (
            "soteria_embedding_cosine",
            "embedding_mse",
            "out_mse",
            "probabilities_mse",
            "soteria_embedding_mse",
            "approx1_mse",
            "approx2_mse",
            "approx3_mse",
            "approx4_mse",
            "approx_out_mse",
            "approx_probabilities_mse",
            "scale_mse",
        )
    },
}
"""Column of ``paper/published/ilrg.csv`` -> our (method, metric)."""

NO_VERDICT = "—"


def read_text_frame(path: Path, needed: Sequence[str]) -> pd.DataFrame:
    """Read a CSV of the paper's folder, every field as text.

    Raises:
        InputError: the file is missing, empty, or lacks a column.
    """
    try:
        frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except pd.errors.EmptyDataError:
        raise InputError(f"{path}: the file is empty") from None
    except (OSError, ValueError) as error:  # a folder, not text, ragged lines
        raise InputError(f"{path}: not a CSV file: {' '.join(str(error).split())}") from error
    missing = [name for name in needed if name not in frame.columns]
    if missing:
        raise InputError(f"{path}: column {missing[0]} is missing")
    return frame


def setting(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns :data:`gradleak.records.CELL` of a published row.

    Raises:
        KeyError: it lacks a column.
        ValueError: a value is invalid for its column.
    """
    victim: dict[str, Any] = {"model": row["model"], "activation": row["activation"]}
    if row["hidden_layers"]:
        victim["n_hidden"] = int(row["hidden_layers"])
    victim |= {name: row[name] == "True" for name in ("batchnorm", "dropout")}
    options = VictimOptions(**victim)
    unit, number = ("", 0) if row["stage"] == "untrained" else stage_parts(row["stage"])
    strength = row["defense_value"]
    return asdict(
        Setting(
            dataset=row["dataset"],
            model=options.model,
            model_options=canonical(options.model_options()),
            stage_unit=unit,
            stage_number=number,
            batch_size=int(row["batch_size"]),
            distribution=row["distribution"],
            distribution_classes=int(row["classes_in_batch"] or 0),
            defense=defense_name(row["defense"], float(strength)) if strength else row["defense"],
            defense_scope="head" if strength else "",  # published defenses act on the last layer
        )
    )


def load(path: Path) -> pd.DataFrame:
    """Read the published figures as one row per figure.

    Several logs may describe one setting; all are kept.

    Returns:
        Columns ``experiment``, ``source_log``, those of :data:`gradleak.records.CELL`, ``method``,
        ``metric``, ``tries`` and ``published`` (as printed, three decimals).

    Raises:
        InputError: the file is missing or lacks a column.
    """
    frame = read_text_frame(path, ("experiment", "source_log", "tries", *VALUES))
    wide = pd.DataFrame(_row(path, number, row) for number, row in enumerate(frame.to_dict("records"), start=2))
    fixed = [name for name in wide.columns if name not in VALUES]
    wide["order"] = range(len(wide))
    long: Any = wide.melt([*fixed, "order"], list(VALUES), "column", "published").dropna(subset="published")
    long = long.sort_values("order", kind="stable").drop(columns="order")
    long["method"] = long["column"].map({column: pair[0] for column, pair in VALUES.items()})
    long["metric"] = long["column"].map({column: pair[1] for column, pair in VALUES.items()})
    columns = ["experiment", "source_log", *CELL, "method", "metric", "tries", "published"]
    return long[columns].reset_index(drop=True)


def _row(path: Path, number: int, row: Mapping[str, Any]) -> dict[str, Any]:
    """Return one published log: its setting and its values, NaN where it has none."""
    try:
        values = {column: float(row[column]) if row[column] else np.nan for column in VALUES}
        for column, value in values.items():
            low, high = metric_facts.bounds(VALUES[column][1])
            if not (np.isnan(value) and not row[column]) and not low <= value <= high:
                raise ValueError(f"{column} is {row[column]}; it must lie in [{shortest(low)}, {shortest(high)}]")
        fixed = {name: row[name] for name in ("experiment", "source_log")}
        return {**fixed, **setting(row), "tries": int(row["tries"]), **values}
    except KeyError as error:
        raise InputError(f"{path}: column {error.args[0]} is missing") from error
    except ValueError as error:
        raise InputError(f"{path}:{number}: {' '.join(str(error).split())}") from error


def load_rerun(path: Path) -> pd.DataFrame:
    """Read the rerun of the released code, summarised over its seeds.

    Returns:
        Columns ``source_log``, ``method``, ``metric``, ``rerun_mean``, ``rerun_sd``, ``rerun_n`` (seeds, each
        an initialisation), ``rerun_low`` and ``rerun_high`` (smallest and largest seed).

    Raises:
        InputError: the file is missing or lacks a column.
    """
    metrics = ["leacc", "lnacc", "irec"]
    frame = read_text_frame(path, ("source_log", "seed", *metrics))
    try:
        long = frame.melt(["source_log"], metrics, "metric", "value").astype({"value": float})
    except ValueError as error:
        raise InputError(f"{path}: {error}") from error
    summary = long.groupby(["source_log", "metric"], sort=False)["value"].agg(
        rerun_mean="mean", rerun_sd="std", rerun_n="size", rerun_low="min", rerun_high="max"
    )
    return summary.reset_index().assign(method="ilrg")


@dataclass(frozen=True)
class Match:
    """The published figures beside a measured cell.

    Attributes:
        metric: our name of the metric.
        values: distinct figures of the logs for the setting, in the order of the file; may be empty.
        batch_size: the B that they were published for; None if there are none.
        exact: whether the published setting equals that of the cell; only then is there a verdict.
        logs: names of the logs.
    """

    metric: str = ""
    values: tuple[float, ...] = ()
    batch_size: int | None = None
    exact: bool = False
    logs: tuple[str, ...] = ()

    @property
    def mean(self) -> float:
        """Mean of the distinct figures, NaN if there are none."""
        return float(np.mean(self.values)) if self.values else float("nan")

    def shown(self) -> list[str]:
        """Return each figure as it is printed in tables."""
        return [figure(self.metric, value) for value in self.values]

    def text(self) -> str:
        """Return the text in a table: ``0.994``, ``0.089/0.150``, ``1.000 (B=24)`` or a dash."""
        if not self.values:
            return "—"
        shown = "/".join(self.shown())
        return shown if self.exact else f"{shown} (B={self.batch_size})"

    def verdict(self, low: float, high: float) -> str:
        """Say whether **each** figure lies in [low, high]; a dash without an exact match."""
        if not self.exact:
            return NO_VERDICT
        outcomes = set(verdicts(self.values, np.full(len(self.values), low), np.full(len(self.values), high)))
        return next(word for word in (UNDECIDED, DIFFERS, AGREES) if word in outcomes)


def match(
    published: pd.DataFrame,
    cell: Mapping[str, Any],
    method: str,
    metric: str,
    experiments: Sequence[str] = (),
) -> Match:
    """Find the published figures for a cell: at the exact setting, else at the nearest batch size.

    Logs of ``experiments`` come before logs of other experiments at the exact setting. Failing both, the log
    of ``experiments`` whose batch size has the smallest ratio to the cell's is taken (the smaller of two
    equally near), with every other part of the setting equal. A packaged sample stands for its full data set.

    Args:
        published: the result of :func:`load`.
        cell: values of :data:`gradleak.records.CELL`.
        method: our name of the method.
        metric: our name of the metric.
        experiments: published experiments that the view reproduces.
    """
    table: Any = published
    wanted = (table["method"] == method) & (table["metric"] == metric)
    wanted &= table["dataset"] == catalogue.stands_for(cell["dataset"])
    for name in set(CELL) - {"dataset", "batch_size"}:
        wanted &= table[name] == cell[name]
    rows = table[wanted]
    own = rows[rows["experiment"].isin(list(experiments))]
    for some in (own, rows):
        exact = some[some["batch_size"] == cell["batch_size"]]
        if len(exact):
            return _match(metric, exact, exact=True)
    if own.empty:
        return Match(metric)
    sizes = sorted({int(size) for size in own["batch_size"]})
    nearest = min(sizes, key=lambda size: abs(np.log(size / cell["batch_size"])))
    return _match(metric, own[own["batch_size"] == nearest], exact=False)


def _match(metric: str, rows: Any, *, exact: bool) -> Match:
    values = tuple(dict.fromkeys(float(value) for value in rows["published"]))
    return Match(metric, values, int(rows["batch_size"].iloc[0]), exact, tuple(rows["source_log"]))


def covered(summary: pd.DataFrame, published: pd.DataFrame) -> pd.DataFrame:
    """Pair every published figure with the cell that measures its exact setting.

    If both the full data set and its sample were measured, the full set is used.

    Args:
        summary: the result of :func:`gradleak.report.statistics.summarise` with its default ``by``.
        published: the result of :func:`load`.

    Returns:
        The published rows that are covered, in their order, with ``measured_on`` (the data set), the columns of the
        summary, ``difference`` (measured minus published) and ``verdict``, a dash if the method was not applicable.
    """
    ours = summary.assign(measured_on=summary["dataset"], dataset=summary["dataset"].map(catalogue.stands_for))
    ours["is_sample"] = ours["measured_on"] != ours["dataset"]
    keys = [*CELL, "method", "metric"]
    ours = ours.sort_values("is_sample", kind="stable").drop_duplicates(keys).drop(columns=["is_sample", "iteration"])
    pairs = published.merge(ours, on=keys, how="inner")
    pairs["difference"] = pairs["mean"] - pairs["published"]
    judged = verdicts(pairs["published"], pairs["pi_low"], pairs["pi_high"])
    pairs["verdict"] = np.where(pairs["basis"] == NOT_APPLICABLE, NO_VERDICT, judged)
    return pairs
