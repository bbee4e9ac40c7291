"""Files below results/ that were truncated, edited or deleted: what the next call reports and makes again."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.workflow import Workflow

CONFIG: dict[str, Any] = {
    "defaults": {"num_tries": 3, "model_seed": [1, 2]},
    "experiments": {
        "comparison": {"axes": [{"dataset": "mnist-sample", "model": "fcn3", "batch_size": 8}]},
        "inversion": {
            "attacks": ["dlg"],
            "axes": [{"dataset": "mnist-sample", "model": "fcn3", "batch_size": 1, "iterations": 2, "model_seed": 1,
                      "num_tries": 1, "num_clients": 1}],
        },
    },
    "select": {"experiments": ["comparison", "inversion"], "tables": ["comparison"], "figures": []},
}  # fmt: skip
GOAL = ("results/tables/comparison.csv", "results/experiments/comparison.csv", "results/experiments/inversion.csv")


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Workflow:
    workflow = Workflow(tmp_path_factory.mktemp("damaged"))
    workflow.configure(CONFIG)
    done = workflow.snakemake("--", *GOAL)
    assert done.returncode == 0, done.stdout
    return workflow


def cut(text: str) -> str:
    return "".join(text.splitlines(keepends=True)[:-4])


def interrupted(text: str) -> str:
    return json.dumps({**json.loads(text), "interrupted": True})


@pytest.mark.parametrize(("name", "damage"), [("metrics.csv", cut), ("run.json", interrupted)])
def test_a_damaged_run_is_named_and_rerun_once_deleted(finished: Workflow, name: str, damage: Callable[[str], str]):
    path = finished.folder / sorted(finished.files(f"runs/labels/**/{name}"))[0]
    path.write_text(damage(path.read_text()))
    done = finished.snakemake("--", *GOAL)
    assert done.returncode != 0
    said = [line for line in done.stdout.splitlines() if line.startswith("collect: error: ")]
    assert len(said) == 1, done.stdout
    assert re.match(rf"collect: error: {re.escape(str(path.relative_to(finished.folder)))}:", said[0])
    assert said[0].endswith("; delete it and run again")
    assert "Traceback" not in done.stdout
    path.unlink()
    assert finished.planned("--", *GOAL)["restore_labels"] == 1
    done = finished.snakemake("--", *GOAL)
    assert done.returncode == 0, done.stdout
    assert not finished.planned("--", *GOAL)


def test_a_truncated_experiment_is_named_and_collected_again(finished):
    path = finished.folder / "results/experiments/comparison.csv"
    path.write_text(cut(path.read_text()))
    done = finished.snakemake("--", *GOAL)
    assert done.returncode != 0
    assert "build_table: error: results/experiments/comparison.csv: is not the file that was written" in done.stdout
    path.unlink()
    done = finished.snakemake("--", *GOAL)
    assert done.returncode == 0, done.stdout
    assert "restore_labels" not in done.stdout


def test_deleted_files_of_runs_are_planned_again(finished):
    assert not {"reconstruct_images", "restore_labels"} & set(finished.planned())
    for rule, name in (("reconstruct_images", "trace.csv"), ("restore_labels", "metrics.csv")):
        kind = {"reconstruct_images": "images", "restore_labels": "labels"}[rule]
        path = finished.folder / sorted(finished.files(f"runs/{kind}/**/{name}"))[0]
        path.rename(f"{path}.aside")
        planned = finished.planned()
        Path(f"{path}.aside").rename(path)
        assert planned[rule] == 1
