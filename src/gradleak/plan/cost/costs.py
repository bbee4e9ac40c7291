"""What a configuration costs before it is run: its jobs, which of them are done, and what the others will take."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gradleak.code_digest import code_digest
from gradleak.errors import InputError
from gradleak.plan.cost.estimates import FAIR, Estimate, Estimator
from gradleak.plan.cost.past_jobs import OUTPUTS, Job, folder_of, read, steps_of
from gradleak.plan.grid import Grid
from gradleak.plan.jobs.training import TrainVictim, stage_parts
from gradleak.plan.lpips_files import weights_digest
from gradleak.plan.trainings import earlier_stages
from gradleak.sidecars import read_sidecar

RULES = {
    "prior": "train_prior",
    "train": "train_model",
    "labels": "restore_labels",
    "images": "reconstruct_images",
    "diffusion": "reconstruct_images",
}
"""Kind of a job -> the rule that runs it."""

DONE, OUTDATED, MISSING = "done", "outdated", "missing"
"""States of a job: its outputs are there; they are, but by other code, so that Snakemake makes them again; or not."""


@dataclass(frozen=True)
class Planned:
    """A job of the configuration.

    Attributes:
        name: its id.
        rule: the rule that runs it.
        experiments: those that it is in; none for trainings.
        needs: ids of the trainings that must end before it starts.
        state: one of :data:`DONE`, :data:`OUTDATED`, :data:`MISSING`.
        estimate: what it takes, whether or not it is done.
    """

    name: str
    rule: str
    experiments: tuple[str, ...]
    needs: tuple[str, ...]
    state: str
    estimate: Estimate

    @property
    def fair_seconds(self) -> float:
        """The estimate if its basis is one of :data:`gradleak.plan.cost.estimates.FAIR`, else 0."""
        return self.estimate.seconds if self.estimate.basis in FAIR else 0.0


@dataclass(frozen=True)
class Costs:
    """The jobs of a configuration, each after those that it needs.

    Attributes:
        jobs: priors, trainings, runs.
        past: number of past jobs that estimates may rest on.
        left_out: number of past jobs that could not be read.
        device: what the past jobs ran on; empty if there are none.
    """

    jobs: tuple[Planned, ...]
    past: int
    left_out: int
    device: str

    @property
    def to_do(self) -> list[Planned]:
        """The jobs that Snakemake would run."""
        return [job for job in self.jobs if job.state != DONE]

    def hours_on(self, cores: int) -> float:
        """Hours of fair estimates that cores with one job each need at least, trainings before what needs them."""
        ends: dict[str, float] = {}
        total = 0.0
        for job in self.to_do:
            ends[job.name] = job.fair_seconds + max((ends.get(need, 0.0) for need in job.needs), default=0.0)
            total += job.fair_seconds
        return max(total / cores, max(ends.values(), default=0.0)) / 3600


def costs_of(grid: Grid, results: Path, device: str | None = None) -> Costs:
    """Look up what is done, and estimate the rest.

    Args:
        grid: the expanded configuration.
        results: the folder of results; all timed jobs in it count as past, whatever configuration they were of.
        device: see :class:`gradleak.plan.cost.estimates.Estimator`.
    """
    past, left_out = read(results)
    estimator = Estimator(past, device)
    experiments: dict[str, list[str]] = {}
    for name, runs in grid.experiments.items():
        for run in runs:
            experiments.setdefault(run, []).append(name)
    jobs: dict[str, Planned] = {}
    for job, needs, resumed in _jobs(grid, results):
        state = state_of(job, results)
        # What a job needs is made before it, and comes before it here: then it is made anew too.
        if state == DONE and any(name in jobs and jobs[name].state != DONE for name in needs):
            state = OUTDATED
        jobs[job.run_id] = Planned(
            name=job.run_id,
            rule=RULES[job.KIND],
            experiments=tuple(experiments.get(job.run_id, ())),
            needs=needs,
            state=state,
            estimate=estimator.estimate(job, resumed),
        )
    return Costs(tuple(jobs.values()), estimator.count, left_out, estimator.device)


def state_of(job: Job, results: Path) -> str:
    """Return whether the outputs of a job are there, and of the code and the weights of LPIPS as they are.

    Raises:
        InputError: see :func:`gradleak.plan.lpips_files.weights_digest`.
    """
    folder = folder_of(job)
    record, output = OUTPUTS[folder.partition("/")[0]]
    place = results / folder
    try:
        known = read_sidecar(place / record)
    except InputError:
        return MISSING
    if not (place / output).is_file():
        return MISSING
    present = (code_digest(job.KIND), weights_digest(getattr(job, "lpips_weights", None)))
    return DONE if (known["code"], known.get("lpips")) == present else OUTDATED


def _jobs(grid: Grid, results: Path) -> Iterator[tuple[Job, tuple[str, ...], float]]:
    """Yield the jobs, what they need, and the steps that an earlier stage does: priors, trainings by stage, runs.

    A training is left out if it is not there and no run that is to be made needs it: Snakemake does not make it then.
    """
    victims = grid.victims
    trainings = {victim.run_id: victim for victim in victims.values()}
    before = earlier_stages(trainings)
    folders = {str(prior.folder): name for name, prior in grid.priors.items()}
    runs: list[tuple[Job, tuple[str, ...]]] = []
    needed: set[str] = set()
    for name, run in grid.runs.items():
        needs = [victims[name].run_id] if name in victims else []
        needs += [folders[prior] for prior in [str(getattr(run, "prior", ""))] if prior in folders]
        runs.append((run, tuple(needs)))
        if state_of(run, results) != DONE:
            needed.update(needs)
    # Latest stages first, so that what a needed stage goes on from is needed too.
    for name in sorted(trainings, key=lambda name: _stage(trainings[name]), reverse=True):
        if name in needed and name in before:
            needed.add(before[name])
    for name, prior in grid.priors.items():
        if name in needed or state_of(prior, results) != MISSING:
            yield prior, (), 0.0
    for name, victim in sorted(trainings.items(), key=lambda item: _stage(item[1])):
        if name in needed or state_of(victim, results) != MISSING:
            earlier = before.get(name)
            yield victim, (earlier,) if earlier else (), steps_of(trainings[earlier]) if earlier else 0.0
    for run, needs in runs:
        yield run, needs, 0.0


def _stage(victim: TrainVictim) -> int:
    return stage_parts(victim.stage)[1]
