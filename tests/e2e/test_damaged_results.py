"""Files below results/ that were cut, edited or deleted: what the next call says and makes again."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.workflow import Workflow

CONFIG: dict[str, Any] = {
    "defaults": {"num_tries": 3, "model_seed": [1, 2]},
    "experiments": {
        "comparison": {"axes": [{"dataset": "mnist-sample", "model": "fcn3", "num_images": 8}]},
        "inversion": {
            "attacks": ["dlg"],
            "axes": [{"dataset": "mnist-sample", "model": "fcn3", "num_images": 1, "iterations": 2, "model_seed": 1,
                      "num_tries": 1, "num_clients": 1}],
        },
    },
    "select": {"experiments": ["comparison", "inversion"], "tables": ["comparison"], "figures": []},
}  # fmt: skip
GOAL = ("results/tables/comparison.csv", "results/experiments/comparison.csv", "results/experiments/inversion.csv")


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Iterator[Workflow]:
    workflow = Workflow(tmp_path_factory.mktemp("damaged"))
    workflow.configure(CONFIG)
    done = workflow.snakemake("--", *GOAL)
    assert done.returncode == 0, done.stdout
    return workflow


def cut(text: str) -> str:
    return "".join(text.splitlines(keepends=True)[:-4])


def repeated(text: str) -> str:
    return text + text.splitlines(keepends=True)[-1]


def worded(text: str) -> str:
    return re.sub(r",[0-9.]+\n$", ",high\n", text)


def interrupted(text: str) -> str:
    return json.dumps({**json.loads(text), "interrupted": True})


@pytest.mark.parametrize(
    ("name", "damage"),
    [("metrics.csv", cut), ("metrics.csv", repeated), ("metrics.csv", worded),
     ("run.json", cut), ("run.json", interrupted)],
)  # fmt: skip
def test_a_damaged_run_is_named_and_made_again_when_it_is_deleted(
    finished: Workflow, name: str, damage: Callable[[str], str]
):
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


def test_a_cut_experiment_is_named_and_collected_again(finished):
    path = finished.folder / "results/experiments/comparison.csv"
    path.write_text(cut(path.read_text()))
    done = finished.snakemake("--", *GOAL)
    assert done.returncode != 0
    assert "build_table: error: results/experiments/comparison.csv: is not the file that was written" in done.stdout
    path.unlink()
    done = finished.snakemake("--", *GOAL)
    assert done.returncode == 0, done.stdout
    assert "restore_labels" not in done.stdout


@pytest.mark.parametrize("name", ["images.npz", "contact.png", "trace.csv", "run.json", "metrics.csv"])
def test_a_deleted_file_of_a_run_is_planned_again(finished: Workflow, name: str):
    (found,) = finished.files(f"runs/images/**/{name}")
    path = finished.folder / found
    aside = Path(f"{path}.aside")
    path.rename(aside)
    try:
        assert finished.planned()["reconstruct_images"] == 1
    finally:
        aside.rename(path)
    assert "reconstruct_images" not in finished.planned()
