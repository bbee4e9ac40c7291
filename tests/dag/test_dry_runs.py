"""Dry runs of the real Snakefile: which jobs a configuration plans, and how a wrong one is refused."""

import copy
import re
from typing import Any

import pytest
from tests.workflow import RUNS, SMALL, Workflow


@pytest.fixture
def workflow(tmp_path) -> Workflow:
    made = Workflow(tmp_path)
    made.configure(SMALL)
    return made


def test_small_grid_plans_each_run_once(workflow):
    jobs = workflow.planned()
    assert jobs["restore_labels"] == RUNS
    assert jobs["collect"] == 2
    assert jobs["table"] == 2
    assert jobs["figure"] == 1
    assert "check_data" not in jobs


def test_full_data_is_checked_once(workflow):
    config: dict[str, Any] = copy.deepcopy(SMALL)
    for experiment in config["experiments"].values():
        experiment["axes"] = [{"dataset": ["mnist", "cifar100"], "model": "lenet5", "batch_size": [8, 16]}]
    workflow.configure(config)
    jobs = workflow.planned()
    assert jobs["check_data"] == 2
    assert jobs["restore_labels"] == 2 * 2 * 2


def test_select_runs_nothing_else(workflow):
    workflow.configure(SMALL | {"select": {"tables": ["comparison"], "figures": []}})
    jobs = workflow.planned()
    assert (jobs["restore_labels"], jobs["table"], jobs["collect"]) == (4, 1, 1)
    assert "figure" not in jobs


def test_printed_commands_can_be_pasted_into_a_shell(workflow):
    done = workflow.snakemake("--dry-run", "--printshellcmds")
    assert "workflow/scripts/restore_labels.py --model fcn" in done.stdout
    assert "--model-seed 1" in done.stdout


def test_faults_are_reported_together_with_file_and_key(workflow):
    workflow.configure(SMALL | {"colour": 1, "draft": "perhaps"})
    done = workflow.snakemake("--dry-run")
    assert done.returncode != 0
    assert "test.yaml: colour: Extra inputs are not permitted" in done.stdout
    assert "draft: Input should be a valid boolean" in done.stdout
    assert "Traceback" not in done.stdout


def test_the_shipped_default_plans(workflow):
    workflow.configure({})
    assert workflow.planned()["restore_labels"] > 30


def test_a_figure_of_images_depends_on_exactly_its_runs_images(workflow):
    workflow.configure({"select": {"tables": [], "figures": ["reconstruction_grid", "psnr_over_iterations"]}})
    # The default target requires all files of all runs.
    figures = [f"results/figures/{name}.png" for name in ("reconstruction_grid", "psnr_over_iterations")]
    done = workflow.snakemake("--dry-run", "--", *figures)
    assert done.returncode == 0, done.stdout
    # Snakemake gives as the reason of a job the outputs that another job needs.
    reasons = re.findall(r"^Reason: Missing output files: (results/runs/.*)$", done.stdout, re.MULTILINE)
    assert sorted("images.npz" in reason for reason in reasons) == [False] * 2 + [True] * 4
    shown = [reason for reason in reasons if "images.npz" in reason]
    assert sum("-ig-" in reason for reason in shown) == 3
    assert sum("-consistency-" in reason for reason in shown) == 1
