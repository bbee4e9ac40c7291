"""The jobs of a grid, and which of them Snakemake would run."""

from gradleak.plan.cost.jobs import DONE, KINDS, MISSING, OUTDATED, jobs_of, state_of
from gradleak.plan.jobs.images import Reconstruct
from gradleak.plan.lpips_files import weights_digest


def states(grid, results):
    return {name: state for _, name, _, state in jobs_of(grid, results)}


def test_every_kind_has_the_rule_that_runs_it():
    assert {name: kind.rule for name, kind in KINDS.items()} == {
        "prior": "train_prior",
        "train": "train_model",
        "labels": "restore_labels",
        "images": "reconstruct_images",
        "diffusion": "reconstruct_images",
    }


def test_trainings_are_of_the_experiments_whose_runs_need_them(tmp_path, grid):
    jobs = jobs_of(grid, tmp_path)
    assert [kind for kind, *_ in jobs] == 2 * ["train"] + 6 * ["labels"]
    assert [experiments for kind, _, experiments, _ in jobs if kind == "train"] == 2 * [("b",)]
    assert sorted(experiments for kind, _, experiments, _ in jobs if kind == "labels") == [
        *2 * [("a",)],
        *2 * [("a", "b")],
        *2 * [("b",)],
    ]


def test_states(tmp_path, grid, do):
    first, second, *_ = (job for job in grid.runs.values() if job.stage == "untrained")
    folder = do(first)
    do(second, code="00000000")
    found = states(grid, tmp_path)
    assert (found[first.run_id], found[second.run_id]) == (DONE, OUTDATED)
    assert list(found.values()).count(MISSING) == 6
    (folder / "metrics.csv").unlink()
    assert states(grid, tmp_path)[first.run_id] == MISSING


def test_a_run_on_an_outdated_victim_is_outdated(tmp_path, grid, do):
    run = next(job for job in grid.runs.values() if job.stage != "untrained")
    do(run)
    do(run.victim(), code="old")
    found = states(grid, tmp_path)
    assert (found[run.victim().run_id], found[run.run_id]) == (OUTDATED, OUTDATED)
    do(run.victim())
    assert states(grid, tmp_path)[run.run_id] == DONE


def test_a_training_that_no_missing_run_needs_is_not_planned(tmp_path, grid, do):
    for run in grid.runs.values():
        do(run)
    assert set(states(grid, tmp_path)) == set(grid.runs)


def test_a_run_without_the_configured_lpips_weights_is_outdated(tmp_path, do):
    weights = tmp_path / "weights.pth"
    weights.write_bytes(b"some")
    run = Reconstruct(dataset="cifar100", lpips=weights)
    do(run)
    assert state_of(run, tmp_path) == OUTDATED
    do(run, lpips=weights_digest(weights))
    assert state_of(run, tmp_path) == DONE
    assert state_of(Reconstruct(dataset="cifar100"), tmp_path) == OUTDATED
