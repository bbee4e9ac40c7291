"""Measured cells: experiment CSVs, read together, checked, summarised and looked up."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gradleak.errors import InputError
from gradleak.records import CELL, COLUMNS, NOT_APPLICABLE, OK, VICTIM
from gradleak.report.frames import concatenate, read_experiment
from gradleak.report.statistics import KEYS, summarise

_TIMES = ("seconds", "peak_memory_mb")
_SAME_CELL = [name for name in COLUMNS if name not in ("run", "status", "value")]


def read_experiments(paths: Iterable[Path]) -> pd.DataFrame:
    """Read experiment CSVs and keep every value once.

    Raises:
        InputError: a file is missing or malformed, or see :func:`distinct`.
    """
    return distinct(concatenate(read_experiment(path) for path in paths))


def distinct(frame: pd.DataFrame) -> pd.DataFrame:
    """Drop rows that several experiments share.

    A run may belong to several experiments, and two runs may differ only in the methods that they compare; a value in
    both counts once.

    Raises:
        InputError: two runs measured different values for one trial of one cell, so they differ in an option that has
            no column (such as ``split``) and must not be averaged.
    """
    doubled = frame.duplicated(_SAME_CELL, keep=False) & ~frame["metric"].isin(_TIMES)
    if doubled.any():
        again: Any = frame[doubled]
        unlike = _unlike(again)
        if len(unlike):
            same = (again[_SAME_CELL] == list(unlike[0])).all(axis=1)
            runs = ", ".join(dict.fromkeys(again.loc[same, "run"]))
            raise InputError(
                f"runs {runs} belong to one cell but differ in an option that tables do not show "
                "(such as split or local_epochs); show their experiments in separate tables"
            )
    return frame.drop_duplicates(_SAME_CELL, ignore_index=True)


def unambiguous(frame: pd.DataFrame) -> pd.DataFrame:
    """Leave out settings whose runs :func:`distinct` would refuse, and drop duplicate rows.

    The text covers all experiments at once; an ambiguous setting (two values of ``split``, say) has no single number to
    quote.
    """
    setting = [*CELL, "method", "model_seed", "metric"]
    rows: Any = frame  # pandas annotates its results as unions that type checkers cannot follow
    unlike = _unlike(rows[~rows["metric"].isin(_TIMES)])
    if not len(unlike):
        return distinct(frame)
    refused = pd.MultiIndex.from_frame(unlike.to_frame()[setting].drop_duplicates())
    return distinct(rows[~pd.MultiIndex.from_frame(rows[setting]).isin(refused)])


def _unlike(frame: pd.DataFrame) -> Any:
    """Return the trials of cells for which rows have different values, or only some have a value."""
    ranges = frame.groupby(_SAME_CELL, sort=False).agg(
        low=("value", "min"), high=("value", "max"), statuses=("status", "nunique")
    )
    equal = np.isclose(ranges["low"], ranges["high"], rtol=1e-9, atol=1e-12, equal_nan=True)
    return ranges.index[~equal | (ranges["statuses"] > 1)]


@dataclass(frozen=True)
class Value:
    """A summarised metric; fields as in :func:`gradleak.report.statistics.summarise`, NaN if missing."""

    metric: str = ""
    mean: float = float("nan")
    sd: float = float("nan")
    n_initialisations: int = 0
    n_trials: int = 0
    n_diverged: int = 0
    n_not_applicable: int = 0
    ci_low: float = float("nan")
    ci_high: float = float("nan")
    pi_low: float = float("nan")
    pi_high: float = float("nan")
    basis: str = "missing"


class Measured:
    """The cells of some experiments.

    Attributes:
        frame: their rows, each value once.
        summary: one row per cell, method, metric and iteration.
        metrics: method -> all metrics that it has; both in order of first appearance.
    """

    def __init__(self, frame: pd.DataFrame) -> None:
        self.frame = frame
        tries: Any = frame[(frame["trial"] >= 0) | (frame["method"] == VICTIM)]
        self.summary = summarise(tries)
        keys = self.summary[list(KEYS)].itertuples(index=False, name=None)
        values = self.summary[list(Value.__dataclass_fields__)].itertuples(index=False, name=None)
        self._values = {key: Value(*row) for key, row in zip(keys, values, strict=True)}
        of_method: dict[tuple[Any, ...], list[Value]] = {}
        for (*place, _, _), value in self._values.items():
            of_method.setdefault(tuple(place), []).append(value)
        self._ran = set(of_method)
        self.metrics: dict[str, dict[str, None]] = {}
        for *_, method, metric, _ in self._values:
            self.metrics.setdefault(method, {})[metric] = None
        # A method without values does not show which metrics it would have had.
        self._lost = {place: values[0] for place, values in of_method.items() if not any(v.n_trials for v in values)}

    def cells(self) -> list[dict[str, Any]]:
        """Return the settings in order of first appearance."""
        settings: Any = self.frame[list(CELL)].drop_duplicates()
        return [{str(key): value for key, value in row.items()} for row in settings.to_dict("records")]

    def ran(self, cell: dict[str, Any], method: str) -> bool:
        """Whether a method was requested on a setting."""
        return (*(cell[name] for name in CELL), method) in self._ran

    def tried(self, cell: dict[str, Any], method: str) -> bool:
        """Whether a method was requested on a setting and was applicable there."""
        lost = self._lost.get((*(cell[name] for name in CELL), method))
        return self.ran(cell, method) and (lost is None or lost.basis != NOT_APPLICABLE)

    def value(self, cell: dict[str, Any], method: str, metric: str, iteration: int = -1) -> Value:
        """Return a summarised metric, that of a snapshot if an iteration is given.

        Its ``basis`` is ``missing`` if no run has rows for it; if a method gave no value at all, every metric has the
        same basis: diverged or not applicable.
        """
        place = (*(cell[name] for name in CELL), method)
        if (*place, metric, iteration) in self._values:
            return self._values[*place, metric, iteration]
        return replace(self._lost[place], metric=metric) if place in self._lost else Value(metric)

    def check(self, needs: Sequence[tuple[str, str]], where: str) -> None:
        """Require rows for every (method, metric) in every run of the method, unless it gave no value there.

        Args:
            needs: the (method, metric) pairs of the view.
            where: the view, for the message.

        Raises:
            InputError: rows are missing; the message names the first run and counts the others.
        """
        frame = self.frame
        if frame.empty:
            raise InputError(f"{where}: its experiments have no rows; set draft: true to build it anyway")
        # Several runs may share a cell (with different methods), so completeness is checked per cell and
        # initialisation.
        place = [*CELL, "model_seed", "method"]
        wanted = frame[place].drop_duplicates().merge(pd.DataFrame(needs, columns=["method", "metric"]), on="method")
        have = frame[[*place, "metric"]].drop_duplicates()
        joined: Any = wanted.merge(have, on=[*place, "metric"], how="left", indicator=True)
        rows: Any = frame
        tried: Any = pd.MultiIndex.from_frame(rows[place])
        lost = tried[rows["status"] != OK].difference(tried[rows["status"] == OK])
        excused = pd.MultiIndex.from_frame(joined[place]).isin(lost)
        missing = joined[(joined["_merge"] == "left_only") & ~excused]
        if missing.empty:
            return
        first = missing.iloc[0]
        run = frame.loc[(frame[place] == first[place].to_list()).all(axis=1), "run"].iloc[0]
        more = f" ({len(missing) - 1} more cells are missing)" if len(missing) > 1 else ""
        raise InputError(
            f"{where}: run {run} (B={first['batch_size']}, model_seed={first['model_seed']}) has no "
            f"{first['metric']} of {first['method']}, which other runs have{more}; show their experiments in separate "
            "tables, or set draft: true"
        )
