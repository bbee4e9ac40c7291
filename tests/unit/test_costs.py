"""Costs before the run: what is done, and estimates that never come without a past job."""

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests import sidecars

from gradleak.code_digest import code_digest
from gradleak.errors import InputError
from gradleak.plan.config_files import merged, read_grid
from gradleak.plan.cost.costs import DONE, MISSING, OUTDATED, costs_of
from gradleak.plan.cost.estimates import Estimator
from gradleak.plan.cost.past_jobs import OUTPUTS, Job, folder_of, read, steps_of, work_of
from gradleak.plan.cost.tables import experiments_table, jobs_table, rules_table, text
from gradleak.plan.jobs.diffusion import DiffusionReconstruct, TrainPrior
from gradleak.plan.jobs.images import Reconstruct
from gradleak.plan.jobs.labels import RestoreLabels
from gradleak.plan.jobs.training import TrainVictim
from gradleak.victims.training.schedule import plan as plan_of_training

ROOT = Path(__file__).parents[2]
PLAN = ROOT / "workflow" / "scripts" / "plan.py"

CONFIG: dict[str, Any] = {
    "defaults": {"num_tries": 2, "model_seed": [1, 2]},
    "datasets": {"digits": {"kind": "mnist-sample", "label": "MNIST"}},
    "models": {"fcn": {"kind": "fcn", "label": "FCN-3"}},
    "attacks": {"ilrg": {"kind": "ilrg", "label": "iLRG"}},
    "experiments": {
        "a": {"attacks": ["ilrg"], "axes": [{"dataset": "digits", "model": "fcn", "batch_size": [4, 8]}]},
        "b": {
            "attacks": ["ilrg"],
            "axes": [{"dataset": "digits", "model": "fcn", "batch_size": 8, "stage": ["untrained", "iter10"]}],
        },
    },
}
"""6 runs, of which 2 are of both experiments, and 2 trainings."""


def labels(**options: Any) -> RestoreLabels:
    return RestoreLabels(**{"dataset": "mnist", "model": "fcn", "num_tries": 10, "batch_size": 8, **options})


def do(results: Path, job: Job, seconds: float, *, start: float = 0, **record: Any) -> None:
    """Leave behind what a job and its benchmark do."""
    folder = results / folder_of(job)
    folder.mkdir(parents=True, exist_ok=True)
    known = sidecars.record(
        run=job.run_id, spec=job.model_dump(mode="json"), identity=job.identity(), code=code_digest(job.KIND)
    )
    known |= {"seconds": seconds - start, **record}
    name, output = OUTPUTS[folder_of(job).partition("/")[0]]
    (folder / name).write_text(json.dumps(known), encoding="utf-8")
    (folder / output).touch()
    (folder / "benchmark.tsv").write_text(f"s\th:m:s\tmax_rss\tcpu_time\n{seconds}\t0:00:00\t1.0\t{seconds}\n")


def estimator(tmp_path: Path, device: str | None = None) -> Estimator:
    return Estimator(read(tmp_path)[0], device)


@pytest.fixture
def grid(tmp_path):
    path = tmp_path / "my.yaml"
    path.write_text(yaml.safe_dump(CONFIG), encoding="utf-8")
    return read_grid([path])


def test_nothing_past_gives_no_number(tmp_path, grid):
    assert math.isnan(estimator(tmp_path).estimate(labels()).seconds)
    costs = costs_of(grid, tmp_path)
    assert {job.estimate.basis for job in costs.jobs} == {"none"}
    assert all(map(math.isnan, rules_table(costs)["hours"]))
    assert all(map(math.isnan, jobs_table(costs)["seconds"]))
    assert "no estimate" in text(costs, 2)


def test_other_seeds_of_the_same_options_give_their_mean(tmp_path):
    do(tmp_path, labels(model_seed=1), 10)
    do(tmp_path, labels(model_seed=2), 14)
    assert estimator(tmp_path).estimate(labels(model_seed=3, seed=5)) == (12, "same")


def test_one_past_size_is_scaled_without_its_start(tmp_path):
    do(tmp_path, labels(num_tries=10), 9, start=4)
    assert estimator(tmp_path).estimate(labels(num_tries=40)) == (pytest.approx(4 + 4 * 5), "scaled")
    # Neither the stage of the victim nor the strength of a defense changes the cost.
    assert estimator(tmp_path).estimate(labels(stage="iter10")).basis == "scaled"


def test_a_strength_is_scaled_and_another_defense_is_not_the_same(tmp_path):
    do(tmp_path, labels(defenses="dp-0.01"), 9)
    assert estimator(tmp_path).estimate(labels(defenses="dp-0.1")) == (pytest.approx(9), "scaled")
    assert estimator(tmp_path).estimate(labels(defenses="perturb-10")) == (pytest.approx(9), "victim")


def test_several_sizes_give_a_fixed_and_a_proportional_part(tmp_path):
    for images in (8, 16, 64):
        do(tmp_path, labels(batch_size=images), 3 + 2 + 0.01 * 10 * images, start=3)
    assert estimator(tmp_path).estimate(labels(batch_size=512)).seconds == pytest.approx(5 + 51.2)


def test_times_that_fall_with_the_size_do_not_become_negative(tmp_path):
    do(tmp_path, labels(batch_size=8), 9)
    do(tmp_path, labels(batch_size=64), 5)
    assert estimator(tmp_path).estimate(labels(batch_size=10_000)).seconds == pytest.approx(7)


def test_a_sample_stands_for_its_data_set_and_another_model_is_of_the_same_kind_alone(tmp_path):
    do(tmp_path, labels(dataset="mnist-sample"), 9)
    assert estimator(tmp_path).estimate(labels()).basis == "scaled"
    assert estimator(tmp_path).estimate(labels(n_hidden=3)).basis == "kind"
    assert estimator(tmp_path).estimate(Reconstruct(dataset="mnist")).basis == "none"


def test_work_of_images_is_images_times_passes():
    three = Reconstruct(dataset="mnist", num_clients=3, restarts=2, iterations=50)
    assert work_of(three) == 3 * 2 * 50
    assert work_of(three.model_copy(update={"reconstruct_mode": "both"})) == 2 * 3 * 2 * 50
    diffusion = DiffusionReconstruct(dataset="mnist", num_clients=1, diffusion_steps=50, match_steps=4)
    assert work_of(diffusion) == 50 * 5


def test_work_of_trainings_is_images_that_they_learn_from():
    assert work_of(TrainPrior(dataset="mnist", steps=10, train_batch_size=64)) == 640
    epoch = TrainVictim(dataset="mnist", model="fcn", stage="epoch2", train_batch_size=100)
    assert work_of(epoch) == 120_000
    assert work_of(epoch, resumed=600) == 60_000
    assert math.isnan(steps_of(TrainVictim(dataset="imagenet", model="resnet18", stage="epoch1")))


@pytest.mark.parametrize("stage", ["epoch1", "epoch3", "iter7"])
def test_planned_steps_are_those_that_a_training_takes(stage):
    """60,000 images are 468 full batches of 128, and 96 images that are left over."""
    victim = TrainVictim(dataset="mnist", model="fcn", stage=stage)
    assert steps_of(victim) == plan_of_training(victim, 60_000).stop


def test_devices_are_not_mixed(tmp_path):
    do(tmp_path, labels(model_seed=1), 10)
    do(tmp_path, labels(model_seed=2), 10)
    do(tmp_path, labels(model_seed=3), 1, device="cuda:0")
    assert estimator(tmp_path).estimate(labels()).seconds == 10
    assert estimator(tmp_path, "cuda").estimate(labels()).seconds == 1


def test_what_cannot_be_read_is_counted(tmp_path):
    do(tmp_path, labels(), 10)
    do(tmp_path, labels(model_seed=1), 10, spec={"no": "option"})
    (tmp_path / "runs/broken").mkdir()
    (tmp_path / "runs/broken/benchmark.tsv").write_text("s\n-\n")
    past, left_out = read(tmp_path)
    assert (len(past), left_out) == (1, 2)


def test_shared_runs_count_once(tmp_path, grid):
    table = experiments_table(costs_of(grid, tmp_path)).set_index("experiment")["jobs"]
    assert table.to_list() == [4, 4, 6]


def test_states(tmp_path, grid):
    first, second, *_ = (job for job in grid.runs.values() if job.stage == "untrained")
    do(tmp_path, first, 7200)
    do(tmp_path, second, 7200, code="00000000")
    costs = costs_of(grid, tmp_path)
    states = {job.name: job.state for job in costs.jobs}
    assert (states[first.run_id], states[second.run_id]) == (DONE, OUTDATED)
    assert list(states.values()).count(MISSING) == 6
    table = rules_table(costs).set_index("rule")
    assert table.loc["restore_labels", ["jobs", DONE, OUTDATED, MISSING]].to_list() == [6, 1, 1, 4]
    assert table.loc["train_model", "none"] == 2
    (tmp_path / folder_of(first) / "metrics.csv").unlink()
    assert {job.name: job.state for job in costs_of(grid, tmp_path).jobs}[first.run_id] == MISSING


def test_a_run_of_an_outdated_victim_is_outdated(tmp_path, grid):
    run = next(job for job in grid.runs.values() if job.stage != "untrained")
    do(tmp_path, run, 5)
    do(tmp_path, run.victim(), 5, code="old")
    states = {job.name: job.state for job in costs_of(grid, tmp_path).jobs}
    assert (states[run.victim().run_id], states[run.run_id]) == (OUTDATED, OUTDATED)
    do(tmp_path, run.victim(), 5)
    assert {job.name: job.state for job in costs_of(grid, tmp_path).jobs}[run.run_id] == DONE


def test_a_training_is_like_its_own_with_another_seed(tmp_path):
    options: dict[str, Any] = {"dataset": "mnist", "model": "fcn", "stage": "iter100"}
    do(tmp_path, TrainVictim(**options, seed=1), 40)
    assert estimator(tmp_path).estimate(TrainVictim(**options, seed=2), 0.0) == (40, "same")


def test_a_training_that_no_missing_run_needs_is_not_planned(tmp_path, grid):
    for run in grid.runs.values():
        do(tmp_path, run, 5)
    assert costs_of(grid, tmp_path).to_do == []
    assert "nothing to do" in text(costs_of(grid, tmp_path), 2)


def test_hours_on_cores_wait_for_trainings(tmp_path, grid):
    for run in grid.runs.values():
        do(tmp_path, run, 3600, code="old")
        if run.victim() is not None:
            do(tmp_path, run.victim(), 3600, code="old")
    costs = costs_of(grid, tmp_path)
    assert costs.hours_on(1) == pytest.approx(8)
    assert costs.hours_on(2) == pytest.approx(4)
    assert costs.hours_on(100) == pytest.approx(2)


def test_times_of_the_kind_alone_are_not_added_up(tmp_path, grid):
    do(tmp_path, labels(model="lenet5", dataset="cifar100"), 3600)
    costs = costs_of(grid, tmp_path)
    row = rules_table(costs).set_index("rule").loc["restore_labels"]
    assert (row["kind"], row["not in hours"]) == (6, 6)
    assert math.isnan(row["hours"])
    assert "6 more have times of their kind alone" in text(costs, 1)


def test_files_are_merged_as_snakemake_does():
    assert merged({"a": {"b": 1, "c": 2}, "d": [1]}, {"a": {"c": 3}, "d": [2]}) == {"a": {"b": 1, "c": 3}, "d": [2]}


@pytest.mark.parametrize(
    ("content", "message"), [("a: [", "is no YAML"), ("- 1", "is a mapping"), (None, "No such file")]
)
def test_files_that_are_no_configuration(tmp_path, content, message):
    path = tmp_path / "x.yaml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match=message) as caught:
        read_grid([path])
    assert "\n" not in str(caught.value)
    assert "x.yaml" in str(caught.value)


def plan(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    if not (folder / "config").exists():
        (folder / "config").symlink_to(ROOT / "config")
    return subprocess.run([sys.executable, PLAN, *arguments], cwd=folder, capture_output=True, text=True, check=False)


def test_the_program_prints_a_table_and_writes_jobs(tmp_path):
    (tmp_path / "more.yaml").write_text(yaml.safe_dump({"select": {"experiments": ["inversion"]}}))
    done = plan(tmp_path, "--configfile", "config/cpu.yaml", "more.yaml", "--cores", "2", "--output", "jobs.csv")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1].split()[:3] == ["inversion", "4", "0"]
    assert len((tmp_path / "jobs.csv").read_text().splitlines()) == 1 + 4


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


def test_planning_never_imports_torch():
    code = "import sys, gradleak.plan.cost.tables, gradleak.plan.config_files; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
