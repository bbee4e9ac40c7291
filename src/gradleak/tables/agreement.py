"""Every published figure whose exact setting the experiments measure, and whether they agree."""

from typing import Any

import numpy as np
import pandas as pd

from gradleak.published import covered
from gradleak.statistics import AGREES, CELL, DIFFERS, compare_means, verdicts
from gradleak.tables.base import Column, Line, Request, Table, register
from gradleak.tex import number

_METRICS = {
    "leacc": "LeAcc",
    "lnacc": "LnAcc",
    "irec": "IRec",
    "embedding_cosine": "emb. cos.",
    "output_cosine": "logit cos.",
    "probability_cosine": "prob. cos.",
}

FRESH = "(batches)"
"""Why a figure differs: the luck of the draw of batches, which initialisations share, explains it."""

CAPTION = (
    "Every published figure whose exact setting was measured. Verdict: whether it lies in the 95 % "
    "prediction interval for one initialisation on our batches; (batches): not in it, but in the interval that also "
    "allows for drawing other batches. Rerun: mean over five seeds of the authors' released code, "
    "where it was run again, and whether our mean agrees with it (Welch, 95 %)."
)


def pair(request: Request) -> pd.DataFrame:
    """Pair published figures, measurements and the rerun: :func:`gradleak.published.covered` and more.

    Adds ``explained`` (:data:`FRESH` where the figure is outside the interval for our batches and inside that for
    other batches), ``rerun_mean``, ``rerun_sd``, ``rerun_n``, ``rerun_low``, ``rerun_high`` and ``rerun_verdict``.
    """
    found = covered(request.measured.summary, request.published)
    found = found.merge(request.rerun, on=["source_log", "method", "metric"], how="left")
    fresh = verdicts(found["published"], found["fresh_low"], found["fresh_high"])
    differs = found["verdict"] == DIFFERS
    found["explained"] = np.where(differs & (fresh == AGREES), FRESH, "")
    # Our initialisations share their batches, so the spread between them holds nothing of the batches' luck.
    found["shared"] = found["batch_variance"] / found["n_batches"].clip(lower=1)
    names = ["mean", "sd", "n_initialisations", "rerun_mean", "rerun_sd", "rerun_n", "shared"]
    found["rerun_verdict"] = [
        compare_means(*(float(value) for value in row)) for row in found[names].itertuples(index=False, name=None)
    ]
    return found.drop(columns="shared")


@register("agreement")
def build(request: Request) -> Table:
    """Build the table: one line per published figure, in the order of the published file."""
    found = pair(request)
    labels = request.labels
    lines: list[Line] = []
    previous = None
    for record in found.to_dict("records"):
        row: dict[str, Any] = {str(key): value for key, value in record.items()}
        cell = {name: row[name] for name in CELL} | {"dataset": row["measured_on"]}
        head = (row["source_log"], labels.setting(cell))
        new = head != previous
        if new:
            lines.append(Line(heading=f"{head[0]}: {head[1]}", rule=True))
        previous = head
        interval = f"[{number(row['pi_low'])}, {number(row['pi_high'])}]" if row["n_initialisations"] > 1 else "—"
        has_rerun = pd.notna(row["rerun_mean"])
        lines.append(
            Line(
                (
                    labels.method.get(row["method"], row["method"]),
                    _METRICS.get(row["metric"]) or str(row["metric"]),
                    f"{row['n_initialisations']}×{row['n_trials'] // max(row['n_initialisations'], 1)}"
                    + (f" ({row['n_diverged']} div.)" if row["n_diverged"] else ""),
                    number(row["mean"]),
                    interval,
                    number(row["published"]),
                    ("+" if row["difference"] >= 0.0005 else "") + number(row["difference"]),
                    " ".join(filter(None, (row["verdict"], row["explained"]))),
                    number(row["rerun_mean"]) if has_rerun else "",
                    row["rerun_verdict"] if has_rerun else "",
                )
            )
        )
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
    return Table(CAPTION, note, columns, tuple(lines), found, long=True)
