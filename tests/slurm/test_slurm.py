"""The shipped profile on a real Slurm: equal results to one machine, and the state after failed and cancelled jobs.

A single call covers most of it, because Slurm's queue is polled rarely and waiting takes most of the time: runs of the
default grid, one of which needs more memory than its first attempt gets, and an image run that is always killed.
"""

import csv
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.slurm.cluster import Cluster, until
from tests.workflow import ROOT, Workflow

FAULTS = Path(__file__).parent / "faults"

_DEFAULT: Any = yaml.safe_load((ROOT / "config" / "config.yaml").read_text(encoding="utf-8"))["experiments"]
GRID: dict[str, Any] = {
    # As in the default grid, except for a single initialisation and a stage that trains in seconds.
    "experiments": {
        "class_distribution": {"axes": [axis | {"model_seed": 1} for axis in _DEFAULT["class_distribution"]["axes"]]},
        "training_stage": {"axes": [axis | {"stage": "iter100"} for axis in _DEFAULT["training_stage"]["axes"]]},
        "inversion": {"attacks": ["dlg"]},
    },
    "select": {
        "experiments": ["class_distribution", "training_stage", "inversion"],
        "tables": ["class_distribution"],
        "figures": [],
    },
}
"""Runs of the default grid: 7 label runs, 2 of them on trained victims, and one image run."""
LABELS, VICTIMS = 7, 2
TARGETS = ["results/tables/class_distribution.md", "results/experiments/training_stage.csv"]
FAILING = "results/experiments/inversion.csv"

MEASURED = {"seconds", "peak_memory_mb"}
"""Metrics of the machine, not of the attack."""


class OnSlurm(Workflow):
    """Snakemake calls whose jobs go through Slurm, with the shipped profile except for smaller groups."""

    seconds = 8
    """Seconds until the queue is first polled. Whenever no job has ended, the plugin waits ten seconds longer."""

    def command(self, *arguments: str) -> list[str]:
        profile = ["--workflow-profile", "profiles/slurm", "--group-components", "labels=3", "--latency-wait", "5"]
        # This Slurm has no accounting.
        asking = ["--slurm-status-command=squeue", f"--slurm-init-seconds-before-status-checks={self.seconds}"]
        return [sys.executable, "-m", "snakemake", *profile, *asking, "--configfile", "test.yaml", *arguments]

    def popen_options(self) -> dict[str, Any]:
        options = super().popen_options()
        paths = [str(FAULTS), *filter(None, [os.environ.get("PYTHONPATH")])]
        options["env"]["PYTHONPATH"] = os.pathsep.join(paths)
        return options

    def jobs(self, cluster: Cluster, rule: str = "") -> list[dict[str, str]]:
        """Return the jobs of one rule in this folder."""
        return [job for job in cluster.jobs() if job["WorkDir"] == str(self.folder) and rule in job["Comment"]]

    def programs(self) -> list[int]:
        """Return the processes that run one of the programs in this folder."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                here = (process / "cwd").readlink() == self.folder
                if here and b"workflow/scripts/" in (process / "cmdline").read_bytes():
                    found.append(int(process.name))
            except OSError:
                continue  # ended in the meantime
        return found


def given(job: dict[str, str]) -> tuple[str, str, int]:
    """Return a job's partition, memory, and run time in minutes."""
    hours, minutes, _ = job["TimeLimit"].split(":")
    return job["Partition"], job["MinMemoryNode"], 60 * int(hours) + int(minutes)


def rows(path: Path) -> list[list[str]]:
    """Return the lines of a metrics CSV except those that measure the machine."""
    with path.open(newline="", encoding="utf-8") as file:
        lines = list(csv.reader(file))
    column = lines[0].index("metric")
    return [line for line in lines if line[column] not in MEASURED]


def sidecar(path: Path) -> dict[str, Any]:
    """Return a run's record without times, host and the digest of the metrics, which include times."""
    record = json.loads(path.read_text(encoding="utf-8"))
    for name in ("started", "seconds", "peak_memory_mb", "hardware"):
        del record[name]
    del record["metrics"]["sha256"]
    return record


@pytest.fixture(scope="module")
def local(tmp_path_factory) -> Iterator[tuple[Workflow, subprocess.Popen[str]]]:
    """The same on this machine, in the background while others wait for Slurm."""
    workflow = Workflow(tmp_path_factory.mktemp("local"))
    workflow.configure(GRID)
    command = ["nice", *workflow.command("--", *TARGETS)]
    process = subprocess.Popen(command, start_new_session=True, **workflow.popen_options())
    try:
        yield workflow, process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.fixture(scope="module")
def called(cluster, local, tmp_path_factory) -> tuple[OnSlurm, str]:
    """The call that covers most of it, and its output."""
    workflow = OnSlurm(tmp_path_factory.mktemp("slurm"))
    workflow.configure(GRID)
    try:
        done = workflow.snakemake("--", *TARGETS, FAILING, timeout=400)
        assert done.returncode == 1, done.stdout
        assert not cluster.queue()
    finally:
        cluster.cancel_all()
    return workflow, done.stdout + cluster.logs()


def test_jobs_get_the_resources_of_profile_and_rules(cluster, called):
    workflow, said = called
    jobs = workflow.jobs(cluster)
    trainings = workflow.jobs(cluster, "train_model")
    assert [given(job) for job in trainings] == [("gpu", "6000M", 240)] * VICTIMS, said
    assert {job["TresPerJob"] for job in trainings} == {"gres:gpu:1"}
    # Seven label runs share three allocations, sequentially in each.
    labels = [job for job in workflow.jobs(cluster, "restore_labels") if given(job)[1] == "3000M"]
    assert sorted(given(job) for job in labels) == [("cpu", "3000M", 30 * runs) for runs in (1, 3, 3)]
    assert {job["NumCPUs"] for job in jobs} == {"1"}
    # Nothing else is a job: tables are built where Snakemake runs.
    assert {job["Comment"].split("_wildcards")[0] for job in jobs} == {
        "rule_train_model",
        "rule_reconstruct_images",
        "rule_labels_restore_labels",
    }


def test_a_job_that_runs_out_of_memory_is_retried_with_more(cluster, called):
    workflow, said = called
    labels = workflow.jobs(cluster, "restore_labels")
    (failed,) = [job for job in labels if job["JobState"] != "COMPLETED"]
    (again,) = [job for job in labels if given(job)[1] != "3000M"]
    assert given(again) == ("cpu", "6000M", 2 * given(failed)[2]), said
    # Slurm's log of the failed job was kept, and says why.
    (log,) = (workflow.folder / "results/slurm").glob(f"**/{failed['JobId']}.log")
    assert "exceeded memory limit" in log.read_text(encoding="utf-8").lower()


def test_a_job_that_always_dies_is_reported_while_others_go_on(cluster, called):
    workflow, said = called
    images = workflow.jobs(cluster, "reconstruct_images")
    assert [given(job) for job in images] == [("gpu", f"{4000 * n}M", 240 * n) for n in (1, 2, 3)]
    assert {job["JobState"] for job in images} == {"FAILED"}
    assert "Error in rule reconstruct_images" in said
    # The program's own log is shown.
    assert re.search(r"killed by a fault, with CUDA_VISIBLE_DEVICES \d", said)
    assert workflow.files("experiments/*.csv") == {
        f"results/experiments/{name}.csv" for name in ("class_distribution", "training_stage")
    }
    assert not workflow.files("runs/images/**/metrics.csv")


def test_results_equal_those_of_one_machine(called, local):
    cluster, (machine, process) = called[0], local
    said, _ = process.communicate(timeout=200)
    assert process.returncode == 0, said
    tables = {f"results/tables/class_distribution.{suffix}" for suffix in ("csv", "md", "tex")}
    weights = machine.files("checkpoints/**/model.safetensors") | machine.files("checkpoints/**/history.csv")
    metrics, records = machine.files("runs/labels/**/metrics.csv"), machine.files("runs/labels/**/run.json")
    assert (len(metrics), len(records), len(weights)) == (LABELS, LABELS, 2 * VICTIMS)
    for name in metrics | machine.files("experiments/*.csv"):
        assert rows(cluster.folder / name) == rows(machine.folder / name), name
    for name in records:
        assert sidecar(cluster.folder / name) == sidecar(machine.folder / name), name
    for name in tables | weights:
        assert (cluster.folder / name).read_bytes() == (machine.folder / name).read_bytes(), name


def test_a_second_call_plans_nothing(called):
    workflow, _ = called
    assert "Nothing to be done" in workflow.snakemake("--dry-run", "--", *TARGETS).stdout


def test_one_machine_continues_with_results_of_a_cluster(called):
    workflow, _ = called
    again = Workflow.__new__(Workflow)
    again.folder = workflow.folder
    assert "Nothing to be done" in again.snakemake("--dry-run", "--", *TARGETS).stdout


def test_cancelling_leaves_no_job_and_no_partial_file(cluster, tmp_path):
    workflow = OnSlurm(tmp_path)
    workflow.configure(GRID | {"defaults": {"num_tries": 100_000}})
    # On Ctrl-C the plugin cancels the jobs at once, but exits only at the next poll.
    workflow.seconds = 15
    target = "results/experiments/class_distribution.csv"
    process = subprocess.Popen(workflow.command("--", target), **workflow.popen_options())
    try:
        until(lambda: bool(workflow.programs()), 60, "a run's program")
        assert len(cluster.queue()) == 2
        process.send_signal(signal.SIGINT)
        until(lambda: not cluster.queue(), 60, "an empty queue")
        # It polls less often the longer its jobs run, so on a busy machine it may sleep for a minute.
        said, _ = process.communicate(timeout=180)
    finally:
        process.kill()
        process.wait()
    assert process.returncode != 0, said
    until(lambda: not workflow.programs(), 10, "the end of all programs")
    assert {job["JobState"] for job in workflow.jobs(cluster)} == {"CANCELLED"}
    files = {path.name for path in (tmp_path / "results").rglob("*") if path.is_file()}
    assert {name.rsplit(".", 1)[-1] for name in files} <= {"txt", "log"}, files
    # Nothing is locked, and everything is still to do.
    assert workflow.planned("--", target)["restore_labels"] == 5
