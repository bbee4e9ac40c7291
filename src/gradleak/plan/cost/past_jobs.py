"""What past jobs took: Snakemake's benchmark files beside the records that the jobs wrote."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gradleak.plan import catalogue as facts
from gradleak.plan.axes import Run
from gradleak.plan.jobs.diffusion import DiffusionReconstruct, TrainPrior
from gradleak.plan.jobs.images import ImageAttack, Reconstruct
from gradleak.plan.jobs.labels import RestoreLabels
from gradleak.plan.jobs.training import TrainVictim, stage_parts, steps_to
from gradleak.sidecars import read_sidecar

Job = Run | TrainVictim | TrainPrior

OUTPUTS = {
    "runs": ("run.json", "metrics.csv"),
    "checkpoints": ("train.json", "model.safetensors"),
    "priors": ("prior.json", "samples.png"),
}
"""Folder under results/ -> the record that a job in it writes, and a file without which the job is not done."""

_SPECS = {spec.KIND: spec for spec in (RestoreLabels, Reconstruct, DiffusionReconstruct, TrainVictim, TrainPrior)}


@dataclass(frozen=True)
class PastJob:
    """A job that was done and timed.

    Attributes:
        spec: its options.
        seconds: wall time, the program's start included.
        start: part of it before and after the job's own clock: interpreter, imports, exit.
        work: see :func:`work_of`.
        device: what it ran on, e.g. ``cpu``.
    """

    spec: Job
    seconds: float
    start: float
    work: float
    device: str


def folder_of(job: Job) -> str:
    """Return the folder of a job's outputs below the results folder."""
    parts = {TrainVictim.KIND: "checkpoints", TrainPrior.KIND: "priors"}
    return f"{parts.get(job.KIND, 'runs')}/{job.run_id}"


def work_of(job: Job, resumed: float = 0) -> float:
    """Return the work of a job in a unit of its kind: what its time grows with linearly, all else being equal.

    Label restoration: images that pass the victim. Reconstruction: images times passes. Trainings: images that they
    learn from, NaN where the number of images in an epoch is not known.

    Args:
        job: its options.
        resumed: steps of the optimiser that an earlier stage of the same training has done.
    """
    if isinstance(job, RestoreLabels):
        return job.num_tries * job.batch_size
    if isinstance(job, ImageAttack):
        images = job.num_tries * job.num_clients * job.batch_size * job.restarts * job.local_steps
        return images * (2 if job.reconstruct_mode == "both" else 1) * _passes(job)
    if isinstance(job, TrainVictim):
        return (steps_of(job) - resumed) * job.train_batch_size
    return job.steps * job.train_batch_size


def steps_of(victim: TrainVictim) -> float:
    """Return the steps of the optimiser up to a stage, NaN where the size of the train split is not known."""
    size = facts.DATASETS[victim.dataset].sizes.get("train")
    if size is None and stage_parts(victim.stage)[0] == "epoch":
        return float("nan")
    return steps_to(victim.stage, size or 0, victim.train_batch_size)


def _passes(job: ImageAttack) -> int:
    if isinstance(job, Reconstruct):
        return job.iterations
    if isinstance(job, DiffusionReconstruct):
        matching = job.match_steps if job.guidance == "alternate" else 1
        return job.diffusion_steps * (1 + matching) + job.refine_iterations
    raise TypeError(type(job))


def read(results: Path) -> tuple[list[PastJob], int]:
    """Read all timed jobs below a results folder, whatever configuration they were of.

    Returns:
        The jobs, and the number of those left out: not finished, or with options that this version does not know.
    """
    found: list[PastJob] = []
    left_out = 0
    for folder, (record, _) in OUTPUTS.items():
        for benchmark in sorted((results / folder).rglob("benchmark.tsv")):
            try:
                found.append(_read(benchmark, benchmark.with_name(record)))
            except (OSError, ValueError, KeyError, TypeError):
                left_out += 1
    return found, left_out


def _read(benchmark: Path, record: Path) -> PastJob:
    known = read_sidecar(record)
    spec = _SPECS[known["identity"]["kind"]](**known["spec"])
    times = list(_seconds(benchmark))
    seconds = sum(times) / len(times) if times else float("nan")
    if not seconds > 0:
        raise ValueError(f"{benchmark}: no time")
    work = work_of(spec, known.get("resumed_from", 0))
    start = max(0.0, seconds - float(known["seconds"]))
    return PastJob(spec, seconds, start, work, str(known["device"]).partition(":")[0])


def _seconds(benchmark: Path) -> Iterator[float]:
    with benchmark.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            yield float(row["s"])
