"""The jobs of a configuration, and which of them are done."""

from pathlib import Path
from typing import NamedTuple

from gradleak.errors import InputError
from gradleak.plan.axes import Run
from gradleak.plan.code import code_of
from gradleak.plan.grid import Grid
from gradleak.plan.jobs.diffusion import TrainPrior
from gradleak.plan.jobs.training import TrainVictim, stage_parts
from gradleak.plan.lpips_files import weights_digest
from gradleak.plan.trainings import earlier_stages
from gradleak.sidecars import read_sidecar

Job = Run | TrainVictim | TrainPrior


class Kind(NamedTuple):
    """The rule of a kind of job, the folder of its results, the record written last, and a file beside it."""

    rule: str
    folder: str
    record: str
    output: str


_RUN = ("runs", "run.json", "metrics.csv")
KINDS = {
    "prior": Kind("train_prior", "priors", "prior.json", "samples.png"),
    "train": Kind("train_model", "checkpoints", "train.json", "model.safetensors"),
    "labels": Kind("restore_labels", *_RUN),
    "images": Kind("reconstruct_images", *_RUN),
    "diffusion": Kind("reconstruct_images", *_RUN),
}

STATES = DONE, OUTDATED, MISSING = "done", "outdated", "missing"
"""A job's outputs exist; they exist but were made by other code, so Snakemake makes them again; or they are missing."""


def jobs_of(grid: Grid, results: Path) -> list[tuple[str, str, tuple[str, ...], str]]:
    """Return kind, id, experiments and state of priors, trainings and runs, each after its dependencies.

    The experiments of a training are those whose runs need it. A missing training is left out if no pending run needs
    it, since Snakemake does not make it then.

    Raises:
        InputError: see :func:`state_of`.
    """
    trainings = {victim.run_id: victim for victim in grid.victims.values()}
    by_stage = sorted(trainings.items(), key=lambda item: stage_parts(item[1].stage)[1])
    jobs: dict[str, Job] = {**grid.priors, **dict(by_stage), **grid.runs}
    needs = _needs(grid, trainings)
    here = {name: state_of(job, results) for name, job in jobs.items()}
    wanted = {name for name in grid.runs if here[name] != DONE}
    users: dict[str, set[str]] = {name: set() for name in jobs}
    for experiment, names in grid.experiments.items():
        for name in names:
            users[name].add(experiment)
    for name in reversed(jobs):
        for need in needs.get(name, ()):
            users[need] |= users[name]
            if name in wanted:
                wanted.add(need)
    states: dict[str, str] = {}
    for name in jobs:
        if here[name] != MISSING or name in wanted:
            # A job is made again if one of its dependencies is.
            anew = any(states.get(need, DONE) != DONE for need in needs.get(name, ()))
            states[name] = OUTDATED if here[name] == DONE and anew else here[name]
    ordered = {name: tuple(each for each in grid.experiments if each in users[name]) for name in states}
    return [(jobs[name].KIND, name, ordered[name], state) for name, state in states.items()]


def state_of(job: Job, results: Path) -> str:
    """Return whether the outputs of a job exist and were made by the present code and LPIPS weights.

    Raises:
        InputError: see :func:`gradleak.plan.lpips_files.weights_digest`.
    """
    kind = KINDS[job.KIND]
    folder = results / kind.folder / job.run_id
    try:
        record = read_sidecar(folder / kind.record)
    except InputError:
        return MISSING
    if not (folder / kind.output).is_file():
        return MISSING
    present = (code_of(job), weights_digest(getattr(job, "lpips_weights", None)))
    return DONE if (record["code"], record.get("lpips")) == present else OUTDATED


def _needs(grid: Grid, trainings: dict[str, TrainVictim]) -> dict[str, list[str]]:
    """Return job -> the trainings that must finish before it starts."""
    needs = {name: [earlier] for name, earlier in earlier_stages(trainings).items()}
    priors = {str(prior.folder): name for name, prior in grid.priors.items()}
    for name, run in grid.runs.items():
        victim, prior = grid.victims.get(name), priors.get(str(getattr(run, "prior", "")))
        needs[name] = [*([victim.run_id] if victim else []), *([prior] if prior else [])]
    return needs
