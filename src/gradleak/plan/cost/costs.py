"""The cost of a configuration before it is run: numbers of jobs, and mean times of past jobs."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from gradleak.plan.cost.jobs import DONE, KINDS, STATES, jobs_of
from gradleak.plan.cost.times import past_jobs
from gradleak.plan.grid import Grid

_ROW = ["rule", "kind", "experiment"]


@dataclass(frozen=True)
class Costs:
    """The costs of a configuration.

    Attributes:
        jobs: a row per job: ``rule``, ``kind``, ``job`` (its id), ``experiments``, ``state``, ``seconds`` (the mean
            time of past jobs, NaN if there are none) and ``mean_of``: which past jobs, ``experiment`` or ``kind``.
        table: a row per rule, kind and experiment, and one for all: number of jobs, in total and by state; their mean
            time; ``hours`` of those that are not done, NaN if one of them has no mean.
        past: the jobs behind the means, in words.
    """

    jobs: pd.DataFrame
    table: pd.DataFrame
    past: str


def costs_of(grid: Grid, results: Path, device: str | None = None) -> Costs:
    """Look up which jobs are done and how long similar jobs took.

    A job is expected to take the mean time of past jobs of its kind and experiment, or else of its kind. A job that
    several experiments share counts for the first of them.

    Args:
        grid: the expanded configuration.
        results: the folder of results; all timed jobs in it count as past jobs, whatever their configuration.
        device: see :func:`gradleak.plan.cost.times.past_jobs`.

    Raises:
        InputError: see :func:`gradleak.plan.cost.jobs.state_of`.
    """
    past, description = past_jobs(results, device)
    jobs = pd.DataFrame(jobs_of(grid, results), columns=["kind", "job", "experiments", "state"])
    jobs.insert(0, "rule", [KINDS[kind].rule for kind in jobs["kind"]])
    each = jobs.assign(experiment=jobs["experiments"]).explode("experiment", ignore_index=True)
    took = past["seconds"].to_dict()
    of_kind = {kind: times["seconds"].mean() for kind, times in past.groupby("kind")}
    each["took"] = [took.get(job, math.nan) for job in each["job"]]
    own = each.groupby(["kind", "experiment"])["took"].transform("mean")
    each["seconds"] = own.fillna(pd.Series([of_kind.get(kind, math.nan) for kind in each["kind"]]))
    each["mean_of"] = np.select([own.notna(), each["seconds"].notna()], ["experiment", "kind"], "-")
    once = each.drop_duplicates("job", ignore_index=True)
    return Costs(once.drop(columns=["experiment", "took"]), _table(each, once), description)


def _table(each: pd.DataFrame, once: pd.DataFrame) -> pd.DataFrame:
    """Count jobs per experiment, and each job once."""
    shared = {"rule": "all, shared jobs once", "kind": "", "experiment": "", "mean s": math.nan, "mean of": ""}
    rows = pd.concat([each.assign(**{"mean s": each["seconds"], "mean of": each["mean_of"]}), once.assign(**shared)])
    rows["jobs"] = 1
    for state in STATES:
        rows[state] = (rows["state"] == state).astype(int)
    rows["hours"] = rows["seconds"].where(rows["state"] != DONE, 0) / 3600
    how = dict.fromkeys(["jobs", *STATES], "sum") | {"mean s": "first", "mean of": "first"}
    return rows.groupby(_ROW, sort=False).agg({**how, "hours": lambda hours: hours.sum(skipna=False)})


def text(costs: Costs, cores: int) -> str:
    """Return what ``make plan`` prints."""
    to_do = costs.jobs.loc[costs.jobs["state"] != DONE]
    known = to_do.dropna(subset="seconds")
    hours = known["seconds"].sum() / 3600
    lines = [costs.table.to_string(float_format="{:.2f}".format, na_rep="-"), "", costs.past]
    total = f"{hours:.2f} h in all, {hours / cores:.2f} h on {cores} cores" if len(known) else "no estimate"
    lines.append(f"{len(to_do)} jobs to do (outdated or missing): {total}" if len(to_do) else "No jobs to do")
    if len(known) < len(to_do):
        kinds = ", ".join(to_do["kind"].drop(known.index).unique())
        lines.append(f"Not included: {len(to_do) - len(known)} jobs of kinds that have not run before ({kinds})")
    return "\n".join([*lines, "Data checks, collecting, tables, figures and the paper are not timed"])
