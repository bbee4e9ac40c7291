"""Means and intervals over initialisations of the victim, and what it means to agree with a published figure.

One published figure is the mean over the tries of **one** random initialisation, so trials are averaged
within an initialisation first, and spread is measured between initialisations. The question "could one more
initialisation have given the published figure?" is answered by the prediction interval, not by the confidence
interval of the mean.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

LEVEL = 0.95
"""Coverage of all intervals."""

HALF_UNIT = 0.0005
"""Published figures are rounded to three decimals, so each may be off by this much."""

HALF_UNIT_DB = 0.005
"""The same for PSNR in dB, which is published with two decimals."""

CELL = ("dataset", "model", "stage", "batch_size", "distribution", "defense")
"""Columns that name a setting."""

FRACTIONS = ("leacc", "lnacc", "irec", "f1", "exact_match", "label_accuracy")
"""Metrics that lie in [0, 1]."""

COSINES = (
    "embedding_cosine",
    "output_cosine",
    "probability_cosine",
    "soteria_embedding_cosine",
    "feature_cosine",
    "ssim",
)
"""Metrics that lie in [-1, 1]."""

NOT_NEGATIVE = ("count_l1", "lpips")
"""Metrics without an upper bound, besides errors and PSNR (of images in [0, 1])."""

AGREES, DIFFERS, UNDECIDED = "agrees", "differs", "n/a"


def _bounds(metric: pd.Series) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    fraction, cosine = metric.isin(FRACTIONS).to_numpy(), metric.isin(COSINES).to_numpy()
    positive = metric.isin(NOT_NEGATIVE).to_numpy() | _is_error(metric) | _is_psnr(metric)
    low = np.where(cosine, -1.0, np.where(fraction | positive, 0.0, -np.inf))
    return low, np.where(fraction | cosine, 1.0, np.inf)


def _is_error(metric: pd.Series) -> NDArray[np.bool_]:
    """Mean squared and relative errors: not negative, and published with seven digits instead of three decimals."""
    return metric.str.endswith(("mse", "mre")).to_numpy(dtype=bool)


def _is_psnr(metric: pd.Series) -> NDArray[np.bool_]:
    return metric.str.startswith("psnr").to_numpy(dtype=bool)


def student(n: ArrayLike) -> NDArray[np.float64]:
    """Two-sided Student quantile of :data:`LEVEL` for ``n`` values; NaN where n < 2."""
    n = np.asarray(n, dtype=np.float64)
    quantile = stats.t.ppf((1 + LEVEL) / 2, np.where(n > 1, n - 1, 1.0))
    return np.where(n > 1, quantile, np.nan)


def _batch_variance(trials: Any, keys: list[str]) -> Any:
    """Estimate the variance between batches that several initialisations share.

    Two-way layout without replication, initialisations by batches: the variance of the batches' means, less
    what the residual contributes to it.

    Returns:
        A frame by ``keys`` with ``batch_variance`` (0 where batches are not shared) and ``n_batches``.
    """
    good = trials.dropna(subset="value").copy()
    batch, initialisation = [*keys, "seed", "trial"], [*keys, "model_seed"]
    of_batch = good.groupby(batch, sort=False)["value"].mean()
    found = of_batch.groupby(level=keys, sort=False).agg(["var", "size"])
    found.columns = ["batch_variance", "n_batches"]
    columns = {"b": batch, "i": initialisation, "g": keys}
    means = {name: good.groupby(by, sort=False)["value"].transform("mean") for name, by in columns.items()}
    good["square"] = (good["value"] - means["b"] - means["i"] + means["g"]) ** 2
    residual = good.groupby(keys, sort=False)["square"].sum()
    m = good.groupby(keys, sort=False)["model_seed"].nunique()
    n = good.groupby(keys, sort=False)["value"].size()
    freedom = (n - m - found["n_batches"] + 1).clip(lower=1)
    excess = found["batch_variance"] - residual / freedom / m
    shared = (found["n_batches"] > 1) & (found["n_batches"] < n) & (m > 1)
    found["batch_variance"] = excess.clip(lower=0).where(shared, 0.0)
    return found


def summarise(
    frame: pd.DataFrame,
    by: Sequence[str] = (*CELL, "method", "metric"),
) -> pd.DataFrame:
    """Summarise rows of the long schema over trials and initialisations.

    A value counts when its status is ``ok`` and it is a number; a trial without such a value is diverged.
    Units of a trial are averaged first, then trials of an initialisation (``model_seed``), then
    initialisations.

    Args:
        frame: rows with the columns of :data:`gradleak.records.COLUMNS`.
        by: columns that name a cell; must contain ``metric``, which decides how intervals are clipped.

    Returns:
        One row per cell in order of first appearance, with the columns of ``by`` and, in the metric's own
        unit: ``mean`` and ``sd`` over initialisations; ``n_initialisations`` and ``n_trials`` that count,
        ``n_diverged`` trials that do not; ``ci_low``/``ci_high``, the 95 % interval of the mean (Student);
        ``pi_low``/``pi_high``, the 95 % interval in which the rounded mean of one further initialisation
        falls, mean ± t sd sqrt(1 + 1/m) ± 0.0005 (0 for errors, 0.005 for PSNR), clipped to the metric's range; and
        ``basis``, what the interval of the mean is over: ``initialisations``, or ``trials`` where there is one
        initialisation (then there is no prediction interval), or ``none``; ``batch_variance`` between the
        ``n_batches`` shared batches, 0 where none is shared; and ``fresh_low``/``fresh_high``, the prediction interval
        for one further initialisation on other batches: all initialisations of a setting meet the same batches, so
        their spread holds nothing of the luck of the draw, while a published figure was measured on other batches.
        With v the variance between batches and T their number, 2t²v/T (Student, T - 1; ours and as many fresh
        batches) is added to the square of the half-width.
    """
    keys = list(by)
    rows: Any = frame  # pandas annotates its results as unions that no checker can follow
    ok = rows["status"].eq("ok") & np.isfinite(rows["value"].astype(np.float64))
    values = rows.assign(value=rows["value"].where(ok).astype(np.float64))
    trials = (
        values.groupby([*keys, "model_seed", "seed", "trial"], sort=False)["value"].mean().rename("value").reset_index()
    )
    cells = trials.groupby(keys, sort=False)["value"].agg(n_trials="count", n_all="size", trial_sd="std")
    each = trials.dropna(subset="value").groupby([*keys, "model_seed"], sort=False)["value"].mean()
    over = each.groupby(level=keys, sort=False).agg(["mean", "std", "size"])
    over.columns = ["mean", "sd", "n_initialisations"]
    found = cells.join(over).join(_batch_variance(trials, keys)).reset_index()
    found["n_initialisations"] = found["n_initialisations"].fillna(0).astype(int)
    found["n_diverged"] = found["n_all"] - found["n_trials"]

    m, n = found["n_initialisations"].to_numpy(), found["n_trials"].to_numpy()
    several = m > 1
    sd = found["sd"].to_numpy(dtype=np.float64)
    centre = found["mean"].to_numpy(dtype=np.float64)
    of_trials = student(n) * found["trial_sd"].to_numpy(dtype=np.float64) / np.sqrt(np.maximum(n, 1))
    batches = found["n_batches"].fillna(0).to_numpy()
    variance = found["batch_variance"].to_numpy(dtype=np.float64)
    luck = np.where(variance > 0, student(batches) * np.sqrt(2 * variance / np.maximum(batches, 1)), 0.0)
    half = np.where(several, student(m) * sd / np.sqrt(np.maximum(m, 1)), of_trials)
    reach = student(m) * sd * np.sqrt(1 + 1 / np.maximum(m, 1))
    low, high = _bounds(found["metric"])
    rounding = np.where(_is_error(found["metric"]), 0.0, np.where(_is_psnr(found["metric"]), HALF_UNIT_DB, HALF_UNIT))
    found["ci_low"], found["ci_high"] = centre - half, centre + half
    for name, width in (("pi", reach), ("fresh", np.hypot(reach, luck))):
        found[f"{name}_low"] = np.clip(centre - width - rounding, low, high)
        found[f"{name}_high"] = np.clip(centre + width + rounding, low, high)
    found["basis"] = np.where(several, "initialisations", np.where(n > 1, "trials", "none"))
    batch = ["batch_variance", "n_batches"]
    columns = ["mean", "sd", "n_initialisations", "n_trials", "n_diverged"]
    return found[
        [*keys, *columns, "ci_low", "ci_high", "pi_low", "pi_high", "fresh_low", "fresh_high", "basis", *batch]
    ]


def verdicts(published: ArrayLike, low: ArrayLike, high: ArrayLike) -> NDArray[np.str_]:
    """Say for each published figure whether it lies in its prediction interval.

    Returns:
        ``agrees``, ``differs``, or ``n/a`` where a figure or a bound is NaN. Bounds count as inside.
    """
    published, low, high = (np.asarray(each, dtype=np.float64) for each in (published, low, high))
    slack = 1e-9 * np.minimum(1.0, np.abs(published))
    inside = (published >= low - slack) & (published <= high + slack)
    known = np.isfinite(published) & np.isfinite(low) & np.isfinite(high)
    return np.where(known, np.where(inside, AGREES, DIFFERS), UNDECIDED)


def compare_means(
    mean: float, sd: float, n: float, other_mean: float, other_sd: float, other_n: float, variance: float = 0.0
) -> str:
    """Say whether two means over initialisations agree: Welch's 95 % interval of their difference, ± 0.0005.

    Args:
        mean: of one sample; ``sd`` and ``n`` are its standard deviation and size.
        sd: see ``mean``.
        n: see ``mean``.
        other_mean: of the other sample, known to three decimals; ``other_sd`` and ``other_n`` belong to it.
        other_sd: see ``other_mean``.
        other_n: see ``other_mean``.
        variance: added to that of the first mean, for what its values share.

    Returns:
        ``agrees``, ``differs``, or ``n/a`` where a sample has fewer than two values.
    """
    if not (n > 1 and other_n > 1 and np.isfinite([mean, sd, other_mean, other_sd]).all()):
        return UNDECIDED
    a, b = sd**2 / n + variance, other_sd**2 / other_n
    reach = HALF_UNIT
    if a + b > 0:
        freedom = (a + b) ** 2 / (a**2 / (n - 1) + b**2 / (other_n - 1))
        reach += float(stats.t.ppf((1 + LEVEL) / 2, freedom)) * float(np.sqrt(a + b))
    return AGREES if abs(mean - other_mean) <= reach + 1e-9 else DIFFERS
