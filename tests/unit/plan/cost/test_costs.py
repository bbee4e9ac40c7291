"""Output of `make plan`: counts, mean times of past jobs, and no estimate without any."""

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from tests.workflow import ROOT

from gradleak.plan.cost.costs import Costs, costs_of, text
from gradleak.plan.jobs.labels import RestoreLabels

PLAN = ROOT / "workflow" / "scripts" / "plan.py"
SHARED = ("all, shared jobs once", "", "")


def of(grid, experiment: str, *, stage: str = "untrained") -> list[RestoreLabels]:
    """Return the runs of a single experiment at a stage of the victim."""
    other = {name for each, names in grid.experiments.items() if each != experiment for name in names}
    runs = [grid.runs[name] for name in grid.experiments[experiment] if name not in other]
    return [run for run in runs if (run.stage == "untrained") == (stage == "untrained")]


def row(costs: Costs, *key: str) -> dict[str, Any]:
    return costs.table.to_dict("index")[key]


def test_without_past_jobs_there_is_no_estimate(tmp_path, grid):
    costs = costs_of(grid, tmp_path)
    assert all(map(math.isnan, costs.table["mean s"]))
    assert all(map(math.isnan, costs.table["hours"]))
    assert all(map(math.isnan, costs.jobs["seconds"]))
    said = text(costs, 2)
    assert "8 jobs to do (outdated or missing): no estimate" in said
    assert "Not included: 8 jobs of kinds that have not run before (train, labels)" in said


def test_a_shared_job_counts_in_each_experiment_and_once_in_all(tmp_path, grid):
    assert costs_of(grid, tmp_path).table["jobs"].to_dict() == {
        ("train_model", "train", "b"): 2,
        ("restore_labels", "labels", "a"): 4,
        ("restore_labels", "labels", "b"): 4,
        SHARED: 8,
    }


def test_jobs_are_counted_by_state(tmp_path, grid, do):
    done, old = of(grid, "a")
    do(done)
    do(old, code="00000000")
    counts = row(costs_of(grid, tmp_path), "restore_labels", "labels", "a")
    assert [counts[name] for name in ("jobs", "done", "outdated", "missing")] == [4, 1, 1, 2]


def test_the_mean_is_that_of_the_experiment_or_else_of_the_kind(tmp_path, grid, do):
    for job, seconds in zip(of(grid, "a"), (100, 300), strict=True):
        do(job, seconds)
    do(RestoreLabels(dataset="cifar100", model="lenet5"), 800)  # from another configuration
    costs = costs_of(grid, tmp_path)
    a, b = (row(costs, "restore_labels", "labels", name) for name in ("a", "b"))
    assert (a["mean s"], a["mean of"]) == (200, "experiment")
    assert (b["mean s"], b["mean of"]) == (400, "kind")
    assert row(costs, "train_model", "train", "b")["mean of"] == "-"


def test_hours_are_those_of_pending_jobs(tmp_path, grid, do):
    for job in of(grid, "a"):
        do(job, 3600)
    (trained, _) = of(grid, "b", stage="iter10")
    do(trained, 7200)
    do(trained.victim(), 1800)
    costs = costs_of(grid, tmp_path)
    # a: the 2 runs that it shares with b; b: these at its own mean, and one of its own.
    assert row(costs, "restore_labels", "labels", "a")["hours"] == pytest.approx(2)
    assert row(costs, "restore_labels", "labels", "b")["hours"] == pytest.approx(3 * 2)
    assert row(costs, "train_model", "train", "b")["hours"] == pytest.approx(0.5)
    # Shared jobs count for a, the first of their experiments.
    assert row(costs, *SHARED)["hours"] == pytest.approx(2 * 1 + 2 + 0.5)
    assert "4 jobs to do (outdated or missing): 4.50 h in all, 2.25 h on 2 cores" in text(costs, 2)


def test_jobs_without_a_mean_are_left_out_of_the_hours_and_reported(tmp_path, grid, do):
    do(RestoreLabels(dataset="cifar100", model="lenet5"), 3600)
    costs = costs_of(grid, tmp_path)
    assert math.isnan(row(costs, *SHARED)["hours"])
    said = text(costs, 3)
    assert "8 jobs to do (outdated or missing): 6.00 h in all, 2.00 h on 3 cores" in said
    assert "Not included: 2 jobs of kinds that have not run before (train)" in said


def test_a_finished_grid_has_nothing_to_do(tmp_path, grid, do):
    for run in grid.runs.values():
        do(run)
    costs = costs_of(grid, tmp_path)
    assert row(costs, *SHARED)["hours"] == 0
    assert "No jobs to do" in text(costs, 2)


def plan(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    if not (folder / "config").exists():
        (folder / "config").symlink_to(ROOT / "config")
    return subprocess.run([sys.executable, PLAN, *arguments], cwd=folder, capture_output=True, text=True, check=False)


def test_the_program_prints_a_table_and_writes_jobs(tmp_path):
    (tmp_path / "more.yaml").write_text(yaml.safe_dump({"select": {"experiments": ["inversion"]}}))
    done = plan(tmp_path, "--configfile", "config/cpu.yaml", "more.yaml", "--cores", "2", "--output", "jobs.csv")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[2].split()[:5] == ["reconstruct_images", "images", "inversion", "4", "0"]
    jobs = pd.read_csv(tmp_path / "jobs.csv")
    assert jobs.columns.to_list() == ["rule", "kind", "job", "experiments", "state", "seconds", "mean_of"]
    assert jobs["experiments"].to_list() == 4 * ["inversion"]
    assert {path.name for path in tmp_path.iterdir()} == {"config", "more.yaml", "jobs.csv"}  # nothing was run


def test_the_program_refuses_a_broken_configuration_in_one_line(tmp_path):
    (tmp_path / "bad.yaml").write_text("{colour: 1}")
    done = plan(tmp_path, "--configfile", "bad.yaml")
    assert done.returncode == 2
    assert done.stderr == "plan.py: error: bad.yaml: colour: Extra inputs are not permitted (given: 1)\n"


@pytest.mark.parametrize("arguments", [("--cores", "0"), ("--cores", "x"), ("--colour",)])
def test_the_program_refuses_wrong_options(tmp_path, arguments):
    done = plan(tmp_path, *arguments)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
