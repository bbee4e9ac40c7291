"""A small grid, and the files of its jobs and benchmarks."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests import sidecars
from tests.small_grid import expand

from gradleak.plan.code import code_of
from gradleak.plan.cost.jobs import KINDS, Job
from gradleak.plan.grid import Grid

Do = Callable[..., Path]


@pytest.fixture
def grid() -> Grid:
    """6 runs, 2 of which belong to both experiments; 2 of the others need a training each."""
    block = {"dataset": "digits", "model": "fcn", "batch_size": 8, "stage": ["untrained", "iter10"]}
    return expand({"experiments/b": {"attacks": ["ilrg"], "axes": [block]}})


@pytest.fixture
def do(tmp_path: Path) -> Do:
    """Return ``do(job, seconds, **record)``, which writes the files of a finished job and returns its folder."""

    def done(job: Job, seconds: float = 1, **record: Any) -> Path:
        kind = KINDS[job.KIND]
        folder = tmp_path / kind.folder / job.run_id
        folder.mkdir(parents=True, exist_ok=True)
        known = {"run": job.run_id, "identity": job.identity(), "code": code_of(job), **record}
        (folder / kind.record).write_text(json.dumps(sidecars.record(**known)), encoding="utf-8")
        (folder / kind.output).touch()
        (folder / "benchmark.tsv").write_text(f"s\th:m:s\tmax_rss\tcpu_time\n{seconds}\t0:00:00\t1.0\t{seconds}\n")
        return folder

    return done
