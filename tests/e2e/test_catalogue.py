"""How changes of the catalogue affect what the workflow makes and makes again."""

import copy
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.unit.metrics.test_lpips import random_weights
from tests.workflow import Workflow

SMALL = {"batch_size": 4, "num_tries": 2, "model_seed": 1}


@pytest.fixture
def workflow(tmp_path) -> Workflow:
    return Workflow(tmp_path)


def test_a_table_shows_the_labels_that_its_experiment_names(workflow):
    """Also for a strength whose shortest form in other notations contains the sign that joins defenses."""
    experiments = {
        name: {
            "attacks": ["ilrg"],
            "axes": [{"dataset": "mnist-sample", "model": model, "defense": [defense], **SMALL}],
        }
        for name, model, defense in (
            ("mine", "mine", ["large", "dp-0.01"]),
            ("theirs", "fcn3", ["clip-1e6", "dp-0.01"]),
        )
    }
    workflow.configure(
        {
            "models": {"mine": {"kind": "fcn", "label": "Our network"}},
            "defenses": {
                "large": {"kind": "clip", "clip_bound": 1000000, "label": "our bound"},
                "clip-1e6": {"kind": "clip", "clip_bound": 1.0e6, "label": "a large bound"},
            },
            "experiments": experiments,
            "tables": {name: {"kind": "defenses", "experiments": [name]} for name in experiments},
        }
    )
    made = [f"results/tables/{name}.md" for name in experiments]
    done = workflow.snakemake("--keep-going", *made)
    assert done.returncode == 0, done.stdout
    ours, theirs = ((workflow.folder / name).read_text() for name in made)
    assert "Our network" in ours
    assert "our bound + noise 1e-2" in ours
    assert "FCN-3" in theirs
    assert "a large bound + noise 1e-2" in theirs
    assert len(workflow.files("runs/labels/*/*/*")) == 1


def test_image_runs_are_repeated_when_lpips_weights_change(workflow):
    config: dict[str, Any] = {
        "select": {"experiments": ["inversion"], "tables": [], "figures": []},
        "experiments": {
            "inversion": {
                "attacks": ["dlg"],
                "axes": [
                    {"dataset": "cifar100-sample", "model": "lenet-dlg", "num_clients": 1, "iterations": 2, **SMALL}
                    | {"batch_size": 1, "num_tries": 1}
                ],
            }
        },
    }
    runs = "reconstruct_images"

    def planned(weights: Path | None) -> int:
        changed = copy.deepcopy(config)
        if weights is not None:
            changed["data"] = {"lpips": str(weights)}
        workflow.configure(changed)
        return workflow.planned().get(runs, 0)

    first, moved, other = (workflow.folder / f"{name}.pth" for name in ("first", "moved", "other"))
    tensors = random_weights()
    torch.save(tensors, first)
    shutil.copy(first, moved)
    torch.save({name: 2 * tensor for name, tensor in tensors.items()}, other)
    assert planned(None) == 1
    assert planned(first) == 1
    done = workflow.snakemake("--keep-going", "results/experiments/inversion.csv")
    assert done.returncode == 0, done.stdout
    assert ",lpips," in (workflow.folder / "results/experiments/inversion.csv").read_text()
    assert [planned(weights) for weights in (first, moved, other, None)] == [0, 0, 1, 1]
