"""Rows of image experiments, arranged so that one batch is one try.

A client's batch, or the aggregate of a round, is an independent draw. In the long schema, clients and images of a round
have columns of their own; here each batch gets its own trial number, so that statistics, intervals and counts are over
batches.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from gradleak.errors import InputError
from gradleak.plan.metric_facts import IMAGE_METRICS, SNAPSHOT
from gradleak.records import CELL, OK, is_attack
from gradleak.report.paired import Difference, paired_difference
from gradleak.report.summary import Measured

MATCHING = "images"
"""Kind of jobs that reconstruct images without a prior."""

DIFFUSION = "diffusion"
"""Kind of jobs that reconstruct images with a diffusion prior."""

KINDS = (MATCHING, DIFFUSION)
"""Kinds of jobs that reconstruct images."""

BEST_SIX = "psnr_six"
"""Mean PSNR of the six images of a batch with the highest PSNR: chosen by the truth, for comparison only."""

Cell = dict[str, Any]


def only_images(frame: pd.DataFrame, kinds: Collection[str] = KINDS) -> pd.DataFrame:
    """Return the rows of image experiments from jobs of some kinds."""
    rows: Any = frame  # pandas annotates its results as unions that type checkers cannot follow
    return rows[rows["kind"].isin(kinds)]


def without_images(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of all other experiments."""
    rows: Any = frame
    return rows[~rows["kind"].isin(KINDS)]


def batches(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the attacks' rows with one trial number per batch, and :data:`BEST_SIX` for batches of six images or more.

    Rows of the job and of the victim are left out: a run that attacks only aggregates has them under the clients' batch
    size, at which nothing was attacked.
    """
    rows: Any = frame[frame["method"].map(is_attack).astype(bool)]
    if rows.empty:
        return rows
    client = rows["client"].clip(lower=0)  # a round has one aggregate
    rows = rows.assign(trial=rows["trial"] * (client.max() + 1) + client)
    return pd.concat([rows, _best_six(rows)], ignore_index=True)


def _best_six(rows: Any) -> pd.DataFrame:
    good = rows[(rows["metric"] == "psnr") & (rows["status"] == OK)].sort_values("value", ascending=False)
    batch = [name for name in rows.columns if name not in ("image", "metric", "value")]
    of_batch = good.groupby(batch, sort=False, dropna=False)["value"]
    best = of_batch.agg(lambda psnr: psnr.head(6).mean() if len(psnr) >= 6 else None)
    added = best.dropna().reset_index().assign(image=-1, metric=BEST_SIX)
    return added[list(rows.columns)].astype({"value": float})


def check(frame: pd.DataFrame, where: str) -> None:
    """Require the metrics of an attack in every run that gave values.

    Args:
        frame: rows of image experiments.
        where: the view, for the message.

    Raises:
        InputError: there are no rows, or a run lacks a metric; the message names the first such run.
    """
    if frame.empty:
        raise InputError(f"{where}: its experiments have no rows; set draft: true to build it anyway")
    attacks = frame[frame["method"].map(is_attack)]
    have = attacks.groupby("run", sort=False)["metric"].agg(set).to_dict()
    lost = set(attacks["run"]) - set(attacks.loc[attacks["status"] == OK, "run"])
    for run in frame["run"].unique():
        if run in lost:  # A run without values does not show which metrics it would have had.
            continue
        missing = [name for name in IMAGE_METRICS if name not in have.get(run, ())]
        if missing:
            raise InputError(f"{where}: run {run} has no {missing[0]}; delete it and run it again, or set draft: true")


@dataclass(frozen=True)
class Reconstructions:
    """The settings of image experiments.

    Attributes:
        measured: their summary, over batches.
    """

    measured: Measured

    @classmethod
    def of(cls, frame: pd.DataFrame, kinds: Collection[str] = KINDS) -> "Reconstructions":
        """Summarise the rows from jobs of some kinds."""
        return cls(Measured(batches(only_images(frame, kinds))))

    def _rows(self, cell: Cell, method: str) -> Any:
        frame: Any = self.measured.frame
        if frame.empty:
            return frame
        here = frame["method"] == method
        for name in CELL:
            here &= frame[name] == cell[name]
        return frame[here]

    def cells(self) -> list[Cell]:
        """Return the settings in order of first appearance."""
        return self.measured.cells()

    def methods(self, cell: Cell | None = None) -> list[str]:
        """Return the attacks on a setting, or on any, in order of first appearance."""
        frame: Any = self.measured.frame
        for name in CELL if cell else ():
            frame = frame[frame["method"].notna() & (frame[name] == (cell or {})[name])]
        return list(dict.fromkeys(frame["method"]))

    def images(self, cell: Cell, method: str) -> int:
        """Return the number of images that count: those of batches that did not diverge."""
        rows = self._rows(cell, method)
        return int(((rows["metric"] == "psnr") & (rows["status"] == OK)).sum())

    def diverged_restarts(self, cell: Cell, method: str) -> int:
        """Return the number of starts that diverged, over all batches."""
        rows = self._rows(cell, method)
        return int(rows.loc[rows["metric"] == "diverged_restarts", "value"].sum())

    def snapshots(self, cell: Cell, method: str) -> list[int]:
        """Return the iterations with a known PSNR, ascending."""
        rows = self._rows(cell, method)
        return sorted({int(iteration) for iteration in rows.loc[rows["metric"] == SNAPSHOT, "iteration"]})

    def difference(self, cell: Cell, method: str, other: str) -> Difference:
        """Return the paired difference in PSNR of two attacks on a setting, in dB."""
        return paired_difference(self._rows(cell, method), self._rows(cell, other), "psnr")

    def beside_matching(self, cell: Cell, method: str, policies: Mapping[str, str]) -> dict[str, Difference]:
        """Compare an attack that uses a prior with every attack without one that gets its labels in the same way.

        Args:
            cell: the setting.
            method: the attack; the result is empty for one without a prior.
            policies: run id -> how the run gets labels, see ``labels`` of
                :class:`gradleak.plan.jobs.images.ImageAttack`; other runs are not compared.

        Returns:
            Name of the other attack -> paired difference in PSNR, if at least one batch can be paired.
        """
        ours = self._rows(cell, method)
        if set(ours["kind"]) != {DIFFUSION}:
            return {}
        labels = {policies.get(run) for run in ours["run"]}
        differences: dict[str, Difference] = {}
        for other in self.methods(cell):
            rows = self._rows(cell, other)
            same = len(labels) == 1 and None not in labels and {policies.get(run) for run in rows["run"]} == labels
            if same and set(rows["kind"]) == {MATCHING}:
                differences[other] = self.difference(cell, method, other)
        return {other: difference for other, difference in differences.items() if difference.value.n_trials}
