"""Means and intervals over initialisations of the victim, and agreement with published figures.

One published figure is the mean over the tries of **one** random initialisation, so trials are averaged
within an initialisation first, and spread is measured between initialisations. The prediction interval, not the
confidence interval of the mean, answers the question "could one more initialisation have given the published figure?".
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from gradleak.plan import metric_facts
from gradleak.records import CELL, NOT_APPLICABLE, OK

LEVEL = 0.95
"""Coverage of all intervals."""

HALF_UNIT = 0.0005
"""Published figures are rounded to three decimals, so each may be off by up to this much."""

HALF_UNIT_DB = 0.005
"""The same for PSNR in dB, published with two decimals."""

KEYS = (*CELL, "method", "metric", "iteration")
"""Columns that identify a summarised value."""

AGREES, DIFFERS, UNDECIDED = "agrees", "differs", "undecided"


def applicable(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of tries that were possible, whatever their outcome."""
    rows: Any = frame  # pandas annotates its results as unions that type checkers cannot follow
    return rows[rows["status"] != NOT_APPLICABLE]


def _bounds(metric: pd.Series) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    known = {name: metric_facts.bounds(name) for name in metric.unique()}
    low, high = (metric.map({name: ends[end] for name, ends in known.items()}) for end in (0, 1))
    return low.to_numpy(dtype=np.float64), high.to_numpy(dtype=np.float64)


def _rounding(metric: pd.Series) -> NDArray[np.float64]:
    """Return the rounding error of published figures; errors have seven digits instead of three decimals."""
    known = {name: _rounding_of(name) for name in metric.unique()}
    return metric.map(known).to_numpy(dtype=np.float64)


def _rounding_of(metric: str) -> float:
    if metric_facts.is_error(metric):
        return 0.0
    return HALF_UNIT_DB if metric_facts.is_psnr(metric) else HALF_UNIT


def student(n: ArrayLike) -> NDArray[np.float64]:
    """Return the two-sided Student quantile of :data:`LEVEL` for ``n`` values; NaN for n < 2."""
    n = np.asarray(n, dtype=np.float64)
    quantile = stats.t.ppf((1 + LEVEL) / 2, np.where(n > 1, n - 1, 1.0))
    return np.where(n > 1, quantile, np.nan)


def _batch_variance(trials: Any, keys: list[str]) -> Any:
    """Estimate the variance between batches that initialisations share.

    Two-way layout without replication, initialisations by batches: the variance of the batches' means minus the
    contribution of the residual.

    Returns:
        A frame by ``keys`` with ``batch_variance`` (0 where batches are not shared) and ``n_batches``.
    """
    good = trials.dropna(subset="value").copy()
    batch, initialisation = [*keys, "seed", "trial"], [*keys, "model_seed"]
    of_batch = good.groupby(batch, sort=False)["value"].mean()
    variances = of_batch.groupby(level=keys, sort=False).agg(["var", "size"])
    variances.columns = ["batch_variance", "n_batches"]
    columns = {"b": batch, "i": initialisation, "g": keys}
    means = {name: good.groupby(by, sort=False)["value"].transform("mean") for name, by in columns.items()}
    good["square"] = (good["value"] - means["b"] - means["i"] + means["g"]) ** 2
    residual = good.groupby(keys, sort=False)["square"].sum()
    m = good.groupby(keys, sort=False)["model_seed"].nunique()
    n = good.groupby(keys, sort=False)["value"].size()
    freedom = (n - m - variances["n_batches"] + 1).clip(lower=1)
    excess = variances["batch_variance"] - residual / freedom / m
    shared = (variances["n_batches"] > 1) & (variances["n_batches"] < n) & (m > 1)
    variances["batch_variance"] = excess.clip(lower=0).where(shared, 0.0)
    return variances


def per_trial(frame: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """Return one row per trial with its value, the mean over the units that count; NaN if none does.

    Args:
        frame: rows of the long schema.
        keys: columns that identify a cell.

    Returns:
        Columns ``keys``, ``model_seed``, ``seed``, ``trial``, ``value``, and ``withheld``: whether the trial was not
        applicable (:data:`NOT_APPLICABLE`).
    """
    rows: Any = frame
    ok = rows["status"].eq(OK) & np.isfinite(rows["value"].astype(np.float64))
    values = rows.assign(value=rows["value"].where(ok).astype(np.float64), withheld=rows["status"].eq(NOT_APPLICABLE))
    by = values.groupby([*keys, "model_seed", "seed", "trial"], sort=False)
    return by.agg(value=("value", "mean"), withheld=("withheld", "all")).reset_index()


def summarise(
    frame: pd.DataFrame,
    by: Sequence[str] = KEYS,
) -> pd.DataFrame:
    """Summarise rows of the long schema over trials and initialisations.

    A value counts when its status is ``ok`` and it is a number; a trial without such a value is diverged, unless it is
    :data:`NOT_APPLICABLE` as a whole: such trials enter no mean, interval or number of trials except their own. Units
    of a trial are averaged first, then trials of an initialisation (``model_seed``), then initialisations.

    Args:
        frame: rows with the columns of :data:`gradleak.records.COLUMNS`.
        by: columns that identify a cell; must contain ``metric``, which determines how intervals are clipped.

    Returns:
        One row per cell in order of first appearance, with the columns of ``by`` and, in the metric's own
        unit: ``mean`` and ``sd`` over initialisations; ``n_initialisations`` and ``n_trials`` that count,
        ``n_diverged`` trials that do not and ``n_not_applicable`` that were not possible; ``ci_low``/``ci_high``, the
        95 % interval of the mean (Student), cut to the metric's range (:func:`gradleak.plan.metric_facts.bounds`);
        ``pi_low``/``pi_high``, the 95 % interval in which the rounded mean of one further initialisation
        falls, mean ± t sd sqrt(1 + 1/m) ± 0.0005 (0 for errors, 0.005 for PSNR), cut likewise; and
        ``basis``, the units of the interval of the mean: ``initialisations``, or ``trials`` if there is only one
        initialisation (then there is no prediction interval), or ``none``, or :data:`NOT_APPLICABLE` if no trial was
        possible; ``batch_variance`` between the ``n_batches`` shared batches, 0 if none is shared; and
        ``fresh_low``/``fresh_high``, the prediction interval for one further initialisation on other batches: all
        initialisations of a setting are attacked on the same batches, so their spread does not include that between
        draws, while a published figure was measured on other batches. With v the variance between batches and T their
        number, 2t²v/T (Student, T - 1; ours and as many fresh batches) is added to the square of the half-width.
    """
    keys = list(by)
    trials: Any = per_trial(frame, keys)  # pandas annotates its results as unions that type checkers cannot follow
    cells = trials.groupby(keys, sort=False).agg(
        n_trials=("value", "count"),
        n_all=("value", "size"),
        trial_sd=("value", "std"),
        n_not_applicable=("withheld", "sum"),
    )
    each = trials.dropna(subset="value").groupby([*keys, "model_seed"], sort=False)["value"].mean()
    over = each.groupby(level=keys, sort=False).agg(["mean", "std", "size"])
    over.columns = ["mean", "sd", "n_initialisations"]
    summary = cells.join(over).join(_batch_variance(trials, keys)).reset_index()
    summary["n_initialisations"] = summary["n_initialisations"].fillna(0).astype(int)
    summary["n_diverged"] = summary["n_all"] - summary["n_trials"] - summary["n_not_applicable"]

    m, n = summary["n_initialisations"].to_numpy(), summary["n_trials"].to_numpy()
    several = m > 1
    sd = summary["sd"].to_numpy(dtype=np.float64)
    centre = summary["mean"].to_numpy(dtype=np.float64)
    of_trials = student(n) * summary["trial_sd"].to_numpy(dtype=np.float64) / np.sqrt(np.maximum(n, 1))
    batches = summary["n_batches"].fillna(0).to_numpy()
    variance = summary["batch_variance"].to_numpy(dtype=np.float64)
    redraw = np.where(variance > 0, student(batches) * np.sqrt(2 * variance / np.maximum(batches, 1)), 0.0)
    half = np.where(several, student(m) * sd / np.sqrt(np.maximum(m, 1)), of_trials)
    reach = student(m) * sd * np.sqrt(1 + 1 / np.maximum(m, 1))
    low, high = _bounds(summary["metric"])
    rounding = _rounding(summary["metric"])
    for name, width, more in (("ci", half, 0.0), ("pi", reach, rounding), ("fresh", np.hypot(reach, redraw), rounding)):
        summary[f"{name}_low"] = np.clip(centre - width - more, low, high)
        summary[f"{name}_high"] = np.clip(centre + width + more, low, high)
    unmade = (summary["n_not_applicable"] == summary["n_all"]).to_numpy()
    summary["basis"] = np.select([several, n > 1, unmade], ["initialisations", "trials", NOT_APPLICABLE], "none")
    batch = ["batch_variance", "n_batches"]
    columns = ["mean", "sd", "n_initialisations", "n_trials", "n_diverged", "n_not_applicable"]
    return summary[
        [*keys, *columns, "ci_low", "ci_high", "pi_low", "pi_high", "fresh_low", "fresh_high", "basis", *batch]
    ]


def verdicts(published: ArrayLike, low: ArrayLike, high: ArrayLike) -> NDArray[np.str_]:
    """Return for each published figure whether it lies in its prediction interval.

    Returns:
        ``agrees``, ``differs``, or ``undecided`` if the figure or a bound is NaN. Bounds count as inside.
    """
    published, low, high = (np.asarray(each, dtype=np.float64) for each in (published, low, high))
    slack = 1e-9 * np.minimum(1.0, np.abs(published))
    inside = (published >= low - slack) & (published <= high + slack)
    known = np.isfinite(published) & np.isfinite(low) & np.isfinite(high)
    return np.where(known, np.where(inside, AGREES, DIFFERS), UNDECIDED)


def compare_means(
    mean: float, sd: float, n: float, other_mean: float, other_sd: float, other_n: float, variance: float = 0.0
) -> str:
    """Return whether two means over initialisations agree: Welch's 95 % interval of their difference, ± 0.0005.

    Args:
        mean: mean of one sample; ``sd`` and ``n`` are its standard deviation and size.
        sd: see ``mean``.
        n: see ``mean``.
        other_mean: mean of the other sample, known to three decimals; ``other_sd`` and ``other_n`` belong to it.
        other_sd: see ``other_mean``.
        other_n: see ``other_mean``.
        variance: added to that of the first mean, for effects that its values share.

    Returns:
        ``agrees``, ``differs``, or ``undecided`` where a sample has fewer than two values.
    """
    if not (n > 1 and other_n > 1 and np.isfinite([mean, sd, other_mean, other_sd]).all()):
        return UNDECIDED
    a, b = sd**2 / n + variance, other_sd**2 / other_n
    reach = HALF_UNIT
    if a + b > 0:
        freedom = (a + b) ** 2 / (a**2 / (n - 1) + b**2 / (other_n - 1))
        reach += float(stats.t.ppf((1 + LEVEL) / 2, freedom)) * float(np.sqrt(a + b))
    return AGREES if abs(mean - other_mean) <= reach + 1e-9 else DIFFERS
