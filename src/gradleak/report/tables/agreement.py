"""Every published figure beside what was measured at its exact setting, and whether they agree."""

from typing import Any

import numpy as np
import pandas as pd

from gradleak.records import NOT_APPLICABLE
from gradleak.report.published import covered
from gradleak.report.statistics import AGREES, DIFFERS, compare_means, verdicts
from gradleak.report.tables.base import WITHHELD, Column, Line, Request, Table, register
from gradleak.report.tex import figure

_METRICS = {
    "leacc": "LeAcc",
    "lnacc": "LnAcc",
    "irec": "IRec",
    "embedding_cosine": "emb. cos.",
    "output_cosine": "logit cos.",
    "probability_cosine": "prob. cos.",
    "soteria_embedding_cosine": "Soteria emb. cos.",
    "soteria_embedding_mse": "Soteria emb. MSE",
    **{f"approx{number}_mse": f"approx. {number} MSE" for number in (1, 2, 3, 4)},
    "approx_out_mse": "approx. logits MSE",
    "approx_probabilities_mse": "approx. prob. MSE",
    "scale_mse": "scale MSE",
    "embedding_mse": "emb. MSE",
    "out_mse": "logit MSE",
    "probabilities_mse": "prob. MSE",
}

FRESH = "(batches)"
"""Why a figure differs: the luck of the draw of batches, which initialisations share, explains it."""

RERUN = "(rerun)"
"""The released code, run again, departs from its own log in the same way."""

ROUNDING = "(rounding)"
"""Both errors are what is left of an identity by rounding, which depends on precision and hardware."""

_IDENTITY = 1e-10
"""Largest squared error that counts as rounding: single precision's is 1e-14 at size 1, TensorFloat-32's 1e-7."""

CAPTION = (
    "Every published figure beside what was measured at its exact setting. Verdict: whether it lies in the 95 % "
    "prediction interval for one initialisation on our batches; (batches): not in it, but in the interval that also "
    "allows for drawing other batches; (rerun): not in them, but ours agrees with the released code run again; "
    "(rounding): both are what rounding leaves of an identity. Rerun: mean over five seeds of the released code, "
    "where it was run again, and whether our mean agrees with it (Welch, 95 %). Logs whose setting was not run here "
    "are listed with what they need. Intervals end where the range of their metric does."
)


def pair(request: Request) -> pd.DataFrame:
    """Pair published figures, measurements and the rerun: :func:`gradleak.report.published.covered` and more.

    Adds ``explained`` (of a figure that differs: :data:`FRESH` if it is inside the interval for other batches,
    :data:`RERUN`, :data:`ROUNDING`, or empty), ``rerun_mean``, ``rerun_sd``, ``rerun_n``, ``rerun_low``,
    ``rerun_high`` and ``rerun_verdict``.
    """
    found = covered(request.measured.summary, request.published)
    found = found.merge(request.rerun, on=["source_log", "method", "metric"], how="left")
    fresh = verdicts(found["published"], found["fresh_low"], found["fresh_high"])
    differs = found["verdict"] == DIFFERS
    # Our initialisations share their batches, so the spread between them holds nothing of the batches' luck.
    found["shared"] = found["batch_variance"] / found["n_batches"].clip(lower=1)
    names = ["mean", "sd", "n_initialisations", "rerun_mean", "rerun_sd", "rerun_n", "shared"]
    found["rerun_verdict"] = [
        compare_means(*(float(value) for value in row)) for row in found[names].itertuples(index=False, name=None)
    ]
    tiny = found["metric"].str.endswith("_mse") & (found[["mean", "published"]].max(axis=1) < _IDENTITY)
    reasons = [fresh == AGREES, found["rerun_verdict"] == AGREES, tiny]
    found["explained"] = np.where(differs, np.select(reasons, [FRESH, RERUN, ROUNDING], ""), "")
    return found.drop(columns="shared")


def needs(cell: dict[str, Any]) -> str:
    """Say what a published setting that was not run would have needed."""
    wants = []
    if cell["dataset"] == "imagenet":
        wants.append("ImageNet")
    if cell["stage"].startswith("epoch"):
        wants.append("a victim trained on a GPU")
    return f"not run: needs {' and '.join(wants)}" if wants else "not run in this grid"


@register("agreement")
def build(request: Request) -> Table:
    """Build the table: a line per published figure, in the order of the published file, or per log that was not run."""
    found: Any = pair(request)
    figures: Any = request.published
    lines: list[Line] = []
    for log, of_log in figures.groupby("source_log", sort=False):
        cell = of_log.iloc[0].to_dict()
        rows = found[found["source_log"] == log].to_dict("records")
        if rows:
            cell["dataset"] = rows[0]["measured_on"]
        where = f"{log}: {request.labels.setting(cell)}"
        lines.append(Line(heading=where if rows else f"{where}: {needs(cell)}", rule=True))
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
    )
    note = "" if len(found) else "No published setting is measured exactly by these experiments."
    keys = ["source_log", "method", "metric"]
    missing = figures[~pd.MultiIndex.from_frame(figures[keys]).isin(pd.MultiIndex.from_frame(found[keys]))]
    numbers = pd.concat([found, missing.assign(verdict="not run")], ignore_index=True)
    return Table(CAPTION, note, columns, tuple(lines), numbers, long=True)


def _line(request: Request, row: dict[str, Any]) -> Line:
    def shown(value: float) -> str:
        return figure(row["metric"], value)

    m = row["n_initialisations"]
    if row["basis"] == NOT_APPLICABLE:
        n, measured = WITHHELD, WITHHELD
    else:
        n = f"{m}×{row['n_trials'] // max(m, 1)}" + (f" ({row['n_diverged']} div.)" if row["n_diverged"] else "")
        measured = shown(row["mean"])
    difference = shown(row["difference"])
    sign = "+" if row["difference"] > 0 and difference.strip("0.") else ""
    has_rerun = pd.notna(row["rerun_mean"])
    return Line(
        (
            request.labels.method.get(row["method"], row["method"]),
            _METRICS.get(row["metric"]) or str(row["metric"]),
            n,
            measured,
            f"[{shown(row['pi_low'])}, {shown(row['pi_high'])}]" if m > 1 else "—",
            shown(row["published"]),
            sign + difference,
            " ".join(filter(None, (row["verdict"], row["explained"]))),
            shown(row["rerun_mean"]) if has_rerun else "",
            row["rerun_verdict"] if has_rerun else "",
        )
    )
