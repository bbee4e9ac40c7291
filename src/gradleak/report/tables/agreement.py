"""Every published figure beside the measurement at its exact setting, and whether they agree."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from gradleak.plan import metric_facts
from gradleak.plan.catalogue import is_sample, stands_for
from gradleak.records import CELL, NOT_APPLICABLE
from gradleak.report.published import NO_VERDICT, covered
from gradleak.report.settings import part_of
from gradleak.report.statistics import AGREES, DIFFERS, compare_means, verdicts
from gradleak.report.tables.base import WITHHELD, Column, Labels, Line, Request, Table
from gradleak.report.tex import figure

Cell = dict[str, Any]

FRESH = "(batches)"
"""Why a figure differs: it was measured on batches other than those that all our initialisations share."""

RERUN = "(rerun)"
"""A rerun of the released code departs from its own log in the same way."""

ROUNDING = "(rounding)"
"""Both are rounding errors of an identity, which depend on precision and hardware."""

_IDENTITY = 1e-10
"""Largest squared error that counts as rounding: single precision's is 1e-14 at size 1, TensorFloat-32's 1e-7."""

_SIZE, _CIRCUMSTANCES = ("batch_size",), ("distribution", "stage", "defense")
"""Parts of a setting besides victim and data."""

NOT_RUN = "not run"
"""Verdict in the CSV form on figures that the grid does not measure."""

MISSING_HERE = "missing"
"""Basis of a figure that only a GPU measured."""

_OF_GPU = ("mean", "n_initialisations", "n_trials", "n_diverged", "pi_low", "pi_high", "verdict", "explained")
"""Columns of a GPU's figures."""

_GPU_COLUMNS = (
    Column("n", "GPU"),
    Column("measured", "GPU", align="r"),
    Column("interval", "GPU"),
    Column("verdict", "GPU", align="l"),
)

CAPTION = (
    "Every published figure beside the measurement at its exact setting. Verdict: whether it lies in the 95 % "
    "prediction interval for one initialisation on our batches; (batches): only in the wider interval that also allows "
    "for other batches; (rerun): in neither, but ours agrees with a rerun of the released code; (rounding): both are "
    "rounding errors of an identity. Rerun: mean over five seeds of the released code, where it was rerun, and whether "
    "our mean agrees with it (Welch, 95 %). Logs whose setting was not run here are listed below the table. Intervals "
    "are clipped to the range of their metric."
)


def pair(request: Request) -> pd.DataFrame:
    """Pair published figures, measurements and the rerun: :func:`gradleak.report.published.covered` and more.

    Adds ``explained`` (of a figure that differs: :data:`FRESH` if it is inside the interval for other batches,
    :data:`RERUN`, :data:`ROUNDING`, or empty), ``rerun_mean``, ``rerun_sd``, ``rerun_n``, ``rerun_low``,
    ``rerun_high`` and ``rerun_verdict``.
    """
    paired = _with_lost(covered(request.measured.summary, request.published), request)
    paired = paired.merge(request.rerun, on=["source_log", "method", "metric"], how="left")
    fresh = verdicts(paired["published"], paired["fresh_low"], paired["fresh_high"])
    differs = paired["verdict"] == DIFFERS
    # Our initialisations share their batches, so their spread does not include that between batches.
    paired["shared"] = paired["batch_variance"] / paired["n_batches"].clip(lower=1)
    names = ["mean", "sd", "n_initialisations", "rerun_mean", "rerun_sd", "rerun_n", "shared"]
    paired["rerun_verdict"] = [
        compare_means(*(float(value) for value in row)) for row in paired[names].itertuples(index=False, name=None)
    ]
    tiny = paired["metric"].str.endswith("_mse") & (paired[["mean", "published"]].max(axis=1) < _IDENTITY)
    reasons = [fresh == AGREES, paired["rerun_verdict"] == AGREES, tiny]
    paired["explained"] = np.where(differs, np.select(reasons, [FRESH, RERUN, ROUNDING], ""), "")
    return paired.drop(columns="shared")


def _with_lost(paired: pd.DataFrame, request: Request) -> pd.DataFrame:
    """Add the figures of attacks that gave no value at the published setting and so have no rows for the metric."""
    measured = request.measured
    cells: dict[tuple[Any, ...], Cell] = {}
    for cell in sorted(measured.cells(), key=lambda cell: is_sample(cell["dataset"])):
        cells.setdefault(tuple((cell | {"dataset": stands_for(cell["dataset"])}).values()), cell)
    keys = ["source_log", "method", "metric"]
    known = set(paired[keys].itertuples(index=False, name=None))
    lost = []
    for row in request.published.to_dict("records"):
        cell = cells.get(tuple(row[name] for name in CELL))
        if cell is None or tuple(row[name] for name in keys) in known:
            continue
        value = measured.value(cell, row["method"], row["metric"])
        if value.basis != "missing":
            lost.append({**row, **asdict(value), "measured_on": cell["dataset"], "verdict": NO_VERDICT})
    if not lost:
        return paired
    # in the order of the published file
    return request.published[keys].merge(pd.concat([paired, pd.DataFrame(lost)], ignore_index=True), on=keys)


def _with_gpu(paired: pd.DataFrame, request: Request) -> pd.DataFrame:
    """Add what a GPU measured, in columns ``gpu_...``, and the figures that it alone measured (basis ``missing``)."""
    if request.gpu is None:
        return paired
    keys = ["source_log", "method", "metric"]
    there: Any = covered(request.gpu.summary, request.published)
    fresh = verdicts(there["published"], there["fresh_low"], there["fresh_high"])
    there["explained"] = np.where((there["verdict"] == DIFFERS) & (fresh == AGREES), FRESH, "")
    theirs = there[[*keys, *_OF_GPU]].rename(columns={name: f"gpu_{name}" for name in _OF_GPU})
    both = paired.merge(theirs, on=keys, how="left")
    known: Any = paired[keys]
    alone: Any = there[~pd.MultiIndex.from_frame(there[keys]).isin(pd.MultiIndex.from_frame(known))]
    alone = alone[[*request.published.columns, "measured_on"]].merge(theirs, on=keys)
    alone = alone.assign(basis=MISSING_HERE, verdict=NOT_RUN)
    if alone.empty:
        return both
    # in the order of the published file
    return request.published[keys].merge(pd.concat([both, alone], ignore_index=True), on=keys)


def needs(cell: Mapping[str, Any]) -> str:
    """Return what a published setting that was not run needs besides time; empty if nothing."""
    wants = []
    if cell["dataset"] == "imagenet":
        wants.append("ImageNet")
    if cell["stage_unit"] == "epoch":
        wants.append("a victim trained on a GPU")
    return " and ".join(wants)


def not_run(cells: Iterable[dict[str, Any]], labels: Labels) -> str:
    """List the settings of logs that were not run, grouped by what they need, then by victim and data.

    Args:
        cells: the columns :data:`gradleak.records.CELL` of each log.
        labels: names in tables and figures.

    Returns:
        A text such as ``Needs ImageNet: ResNet-50: B=64, 128``; empty if there is none.
    """
    groups: dict[str, dict[str, list[dict[str, Any]]]] = {}
    count = 0
    for cell in cells:
        need = needs(cell)
        data = ("dataset",) if "ImageNet" in need else ()  # named once, and not after the images of it that were used
        victim = labels.setting(cell, without=(*_SIZE, *_CIRCUMSTANCES, *data))
        groups.setdefault(need, {}).setdefault(victim, []).append(cell)
        count += 1
    if not count:
        return ""
    parts = [f"Published logs whose setting was not run ({count}; the CSV form names each)."]
    for need in sorted(groups):
        victims = [f"{victim}: {_sizes(of_victim, labels)}" for victim, of_victim in groups[need].items()]
        parts.append(f"{f'Needs {need}' if need else 'Not in this grid'}: {'; '.join(victims)}.")
    return " ".join(parts)


def _sizes(cells: list[dict[str, Any]], labels: Labels) -> str:
    """Return ``B=4, 8, B=64 (100 epochs / extreme)``: batch sizes, first those of otherwise default settings."""
    circumstances: dict[int, dict[str, None]] = {}
    for cell in sorted(cells, key=_natural):
        circumstances.setdefault(cell["batch_size"], {})[labels.where(cell) or "random, untrained"] = None
    plain = [size for size, words in circumstances.items() if list(words) == ["random, untrained"]]
    parts = [f"B={', '.join(map(str, plain))}"] if plain else []
    parts += [f"B={size} ({' / '.join(words)})" for size, words in circumstances.items() if size not in plain]
    return ", ".join(parts)


def _natural(cell: Mapping[str, Any]) -> tuple[Any, ...]:
    """Sort key: batch size, then names with numbers compared as numbers."""
    words = [re.split(r"(\d+)", str(value)) for value in part_of(cell, *_CIRCUMSTANCES)]
    return (cell["batch_size"], *([int(word) if word.isdigit() else word for word in each] for each in words))


def build(request: Request) -> Table:
    """Build the table: a line per published figure, in the order of the published file; logs not run in the note."""
    paired: Any = _with_gpu(pair(request), request)
    figures: Any = request.published
    lines: list[Line] = []
    missing: list[dict[str, Any]] = []
    for log, of_log in figures.groupby("source_log", sort=False):
        cell = of_log.iloc[0].to_dict()
        rows = paired[paired["source_log"] == log].to_dict("records")
        if not rows:
            missing.append(cell)
            continue
        cell["dataset"] = rows[0]["measured_on"]
        lines.append(Line(heading=f"{log}: {request.labels.setting(cell)}", rule=True))
        lines += [_line(request, {str(key): value for key, value in row.items()}) for row in rows]
    columns = (
        Column("Method", align="l"),
        Column("Metric", align="l"),
        Column("n"),
        Column("Measured", align="r"),
        Column("Prediction interval"),
        Column("Published", align="r"),
        Column("Difference", align="r"),
        Column("Verdict", align="l"),
        Column("mean", "Rerun", align="r"),
        Column("verdict", "Rerun", align="l"),
        *(() if request.gpu is None else _GPU_COLUMNS),
    )
    nothing = "" if len(paired) else "No published setting is measured exactly by these experiments."
    note = " ".join(filter(None, (nothing, not_run(missing, request.labels))))
    keys = ["source_log", "method", "metric"]
    others = figures[~pd.MultiIndex.from_frame(figures[keys]).isin(pd.MultiIndex.from_frame(paired[keys]))]
    numbers = pd.concat([paired, others.assign(verdict=NOT_RUN)], ignore_index=True)
    caption = CAPTION if request.gpu is None else f"{CAPTION} GPU: measured on {request.gpu.where}."
    return Table(caption, note, columns, tuple(lines), numbers, long=True)


def _line(request: Request, row: dict[str, Any]) -> Line:
    def shown(value: float) -> str:
        return figure(row["metric"], value)

    name = request.labels.method.get(row["method"], row["method"])
    start = (name, metric_facts.label(row["metric"]))
    elsewhere = () if request.gpu is None else _on_gpu(row, shown)
    if row["basis"] == MISSING_HERE:
        return Line((*start, "", "", "", shown(row["published"]), "", "", "", "", *elsewhere))
    m = row["n_initialisations"]
    if row["basis"] == NOT_APPLICABLE:
        n, measured = WITHHELD, WITHHELD
    else:
        n, measured = _tries(row), shown(row["mean"])
    difference = shown(row["difference"])
    sign = "+" if row["difference"] > 0 and difference.strip("0.") else ""
    has_rerun = pd.notna(row["rerun_mean"])
    return Line(
        (
            *start,
            n,
            measured,
            f"[{shown(row['pi_low'])}, {shown(row['pi_high'])}]" if m > 1 else "—",
            shown(row["published"]),
            sign + difference,
            " ".join(filter(None, (row["verdict"], row["explained"]))),
            shown(row["rerun_mean"]) if has_rerun else "",
            row["rerun_verdict"] if has_rerun else "",
            *elsewhere,
        )
    )


def _on_gpu(row: dict[str, Any], shown: Callable[[float], str]) -> tuple[str, ...]:
    """Return the cells of :data:`_GPU_COLUMNS`."""
    there = {name: row[f"gpu_{name}"] for name in _OF_GPU}
    if pd.isna(there["n_trials"]):
        return "", "", "", ""
    interval = f"[{shown(there['pi_low'])}, {shown(there['pi_high'])}]" if there["n_initialisations"] > 1 else "—"
    judged = " ".join(filter(None, (there["verdict"], there["explained"])))
    return _tries(there), shown(there["mean"]), interval, judged


def _tries(row: Mapping[str, Any]) -> str:
    """Return initialisations times tries that count, and how many diverged: ``3×20 (1 div.)``."""
    m, tries, diverged = (int(row[name]) for name in ("n_initialisations", "n_trials", "n_diverged"))
    return f"{m}×{tries // max(m, 1)}" + (f" ({diverged} div.)" if diverged else "")
