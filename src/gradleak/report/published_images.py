"""Published reconstructions under our identifiers."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gradleak.errors import InputError
from gradleak.records import CELL
from gradleak.report.image_rows import BEST_SIX, Reconstructions
from gradleak.report.published import Match, match, read_text_frame, setting

VALUES = {"psnr_all": "psnr", "psnr_six": BEST_SIX}
"""Column of ``paper/published/images.csv`` -> our metric. The six images are those displayed in the publication."""

_UNSTATED = {
    "activation": "relu",
    "hidden_layers": "",
    "batchnorm": "False",
    "dropout": "False",
    "defense_value": "",
}
"""Columns of ``ilrg.csv`` that are the same for all published images."""

_FIXED = ("experiment", "source_log", *CELL, "method", "iterations")


def empty() -> pd.DataFrame:
    """Return the result of :func:`load` for a file without rows."""
    return pd.DataFrame(columns=[*_FIXED, "metric", "published"])


def load(path: Path) -> pd.DataFrame:
    """Read the published reconstructions as one row per figure, for :func:`gradleak.report.published.match`.

    Returns:
        Columns ``experiment``, ``source_log``, those of :data:`gradleak.records.CELL`, ``method``,
        ``iterations``, ``metric`` and ``published`` in dB (as printed, two decimals).

    Raises:
        InputError: the file is missing, lacks a column, or has text in place of a number.
    """
    frame = read_text_frame(path, ("experiment", "source_log", "method", "iterations", *VALUES))
    rows = [_row(path, number, row) for number, row in enumerate(frame.to_dict("records"), start=2)]
    long = pd.DataFrame(rows, columns=[*_FIXED, *VALUES]).melt(list(_FIXED), list(VALUES), "metric", "published")
    long["metric"] = [VALUES[name] for name in long["metric"]]
    return long.dropna(subset="published", ignore_index=True)


def _row(path: Path, number: int, row: Mapping[str, Any]) -> dict[str, Any]:
    """Return one published set of images: its setting and its values, NaN where it has none."""
    try:
        values = {column: float(row[column]) if row[column] else np.nan for column in VALUES}
        fixed = {name: row[name] for name in ("experiment", "source_log", "method")}
        return {**fixed, **setting({**_UNSTATED, **row}), "iterations": int(row["iterations"]), **values}
    except KeyError as error:
        raise InputError(f"{path}: column {error.args[0]} is missing") from error
    except ValueError as error:
        raise InputError(f"{path}:{number}: {' '.join(str(error).split())}") from error


def beside(
    figures: pd.DataFrame, measured: Reconstructions, cell: dict[str, Any], method: str, metric: str
) -> tuple[Match, str]:
    """Return the published figure beside a measured one, and its text in tables.

    Another number of iterations is another setting, although the columns of a setting do not include it: such a figure
    is shown with that number and is not an exact match. Ours is known from the last snapshot.

    Args:
        figures: the result of :func:`load`.
        measured: the measurements.
        cell: values of :data:`gradleak.records.CELL`.
        method: our name of the attack.
        metric: ``psnr`` or :data:`gradleak.report.image_rows.BEST_SIX`.
    """
    rows: Any = figures
    matched = match(rows, cell, method, metric, tuple(dict.fromkeys(rows["experiment"])))
    iterations = {int(each) for each in rows.loc[rows["source_log"].isin(matched.logs), "iterations"]}
    if not matched.exact or iterations == set(measured.snapshots(cell, method)[-1:]):
        return matched, matched.text()
    after = "/".join(f"{each:,}" for each in sorted(iterations))
    return replace(matched, exact=False), f"{'/'.join(matched.shown())} ({after} it.)"
