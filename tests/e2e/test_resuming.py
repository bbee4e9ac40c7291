"""The state of a grid whose Snakemake, job or machine dies, and what the next call does."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.workflow import Workflow

from gradleak.report import frames

TRIES = 60
CONFIG: dict[str, Any] = {
    "select": {"experiments": ["comparison"], "tables": [], "figures": []},
    "experiments": {
        "comparison": {
            "axes": [{"dataset": "mnist-sample", "model": "fcn3", "batch_size": 1024, "num_tries": TRIES}],
        }
    },
    "defaults": {"model_seed": [1, 2, 3]},
}


@pytest.fixture
def workflow(tmp_path) -> Workflow:
    made = Workflow(tmp_path)
    made.configure(CONFIG)
    return made


@pytest.fixture
def running(workflow) -> Iterator[subprocess.Popen[str]]:
    """A grid in the middle of its first two jobs."""
    process = subprocess.Popen(workflow.command("--keep-going"), start_new_session=True, **workflow.popen_options())
    wait_for(lambda: len(jobs_of(process)) == 2)
    time.sleep(2)  # into their tries
    assert process.poll() is None
    yield process
    for pid in jobs_of(process):
        os.kill(pid, signal.SIGKILL)
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdout is not None:
        process.stdout.close()


def jobs_of(process: subprocess.Popen[str]) -> list[int]:
    """Return the process ids of a grid's programs, which are in its session even after its death."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_text().split("\0")
            session = int((folder / "stat").read_text().rpartition(")")[2].split()[3])
        except OSError:  # ended in the meantime
            continue
        if session == process.pid and "workflow/scripts/restore_labels.py" in words[:2]:
            found.append(int(folder.name))
    return found


def wait_for(condition: Callable[[], bool], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def check_whole(workflow: Workflow, name: str) -> None:
    """Check that existing results have all tries of all methods."""
    assert len(frames.read_frame(workflow.folder / name).query("metric == 'leacc' and method == 'rlg'")) == TRIES


def finish(workflow: Workflow) -> int:
    """Call again and return the number of label runs; afterwards everything must exist and be complete."""
    unlocked = workflow.snakemake("--unlock")
    assert unlocked.returncode == 0, unlocked.stdout
    done = workflow.snakemake()
    assert done.returncode == 0, done.stdout
    metrics = workflow.files("runs/**/metrics.csv")
    assert len(metrics) == 3
    for name in metrics:
        check_whole(workflow, name)
    assert not workflow.planned()
    return len(re.findall(r"^rule restore_labels:|^Job \d+: Restoring", done.stdout, re.MULTILINE))


def test_a_killed_snakemake(workflow, running):
    """Its jobs continue on their own; the next call uses their results or repeats them, never half of one."""
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    wait_for(lambda: not jobs_of(running))
    for name in workflow.files("runs/**/metrics.csv"):
        check_whole(workflow, name)
    assert finish(workflow) == 3  # the two that nobody waited for, and the one that never started


def test_a_killed_job(workflow, running):
    """It is reported with its log, the others continue, and only this job is repeated."""
    os.kill(jobs_of(running)[0], signal.SIGKILL)
    output, _ = running.communicate(timeout=300)
    assert running.returncode != 0
    assert re.search(r"[Ee]rror in rule restore_labels", output)
    assert len(workflow.files("runs/**/metrics.csv")) == 2
    assert finish(workflow) == 1


def test_a_killed_machine(workflow, running):
    """Everything dies at once, and a file that was being renamed is truncated."""
    os.killpg(running.pid, signal.SIGKILL)
    for pid in jobs_of(running):
        os.kill(pid, signal.SIGKILL)
    running.wait()
    (begun, *_) = sorted(workflow.files("runs/**/log.txt"))
    torn = workflow.folder / begun.replace("log.txt", "metrics.csv")
    torn.write_text("run,kind,method,data")
    assert finish(workflow) == 3
