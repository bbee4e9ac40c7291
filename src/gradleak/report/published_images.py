"""Published reconstructions under our identifiers."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gradleak.errors import InputError
from gradleak.report.image_rows import BEST_SIX, Reconstructions
from gradleak.report.published import Match, match, read_text_frame
from gradleak.report.statistics import CELL

VALUES = {"psnr_all": "psnr", "psnr_six": BEST_SIX}
"""Column of ``paper/published/images.csv`` -> our metric. The six are those that the publication displays."""

_FIXED = ("experiment", "source_log", *CELL, "method", "iterations")


def empty() -> pd.DataFrame:
    """Return what :func:`load` gives for a file without rows."""
    return pd.DataFrame(columns=[*_FIXED, "metric", "published"])


def load(path: Path) -> pd.DataFrame:
    """Read the published reconstructions as one row per figure, for :func:`gradleak.report.published.match`.

    Returns:
        Columns ``experiment``, ``source_log``, those of :data:`gradleak.report.statistics.CELL`, ``method``,
        ``iterations``, ``metric`` and ``published`` in dB (as printed, two decimals).

    Raises:
        InputError: the file is missing, lacks a column, or has a word where a number belongs.
    """
    frame = read_text_frame(path, (*_FIXED, *VALUES)).replace({name: {"": np.nan} for name in VALUES})
    try:
        frame = frame.astype({"batch_size": int, "iterations": int, **dict.fromkeys(VALUES, float)})
    except ValueError as error:
        raise InputError(f"{path}: {error}") from error
    long = frame.melt(list(_FIXED), list(VALUES), "metric", "published")
    long["metric"] = [VALUES[name] for name in long["metric"]]
    return long.dropna(subset="published", ignore_index=True)


def beside(
    figures: pd.DataFrame, found: Reconstructions, cell: dict[str, Any], method: str, metric: str
) -> tuple[Match, str]:
    """Return the published figure that belongs beside a measured one, and how tables write it.

    Reconstructions after another number of iterations are another setting, though the columns of a setting do not hold
    it: their figure is shown with that number, and is not an exact match. Ours is known from the last snapshot.

    Args:
        figures: what :func:`load` gave.
        found: what was measured.
        cell: values of :data:`gradleak.report.statistics.CELL`.
        method: our name of the attack.
        metric: ``psnr`` or :data:`gradleak.report.image_rows.BEST_SIX`.
    """
    rows: Any = figures
    matched = match(rows, cell, method, metric, tuple(dict.fromkeys(rows["experiment"])))
    iterations = {int(each) for each in rows.loc[rows["source_log"].isin(matched.logs), "iterations"]}
    if not matched.exact or iterations == set(found.snapshots(cell, method)[-1:]):
        return matched, matched.text()
    after = "/".join(f"{each:,}" for each in sorted(iterations))
    return replace(matched, exact=False), f"{'/'.join(matched.shown())} ({after} it.)"
