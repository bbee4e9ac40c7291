"""Seconds that a job will take, from similar jobs of the past; never a number without a past job behind it."""

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from gradleak.plan import catalogue as facts
from gradleak.plan.cost.past_jobs import Job, PastJob, work_of
from gradleak.plan.jobs.options import defense_parts

BASES = {
    "same": "past jobs with the same options but for seeds",
    "scaled": "past jobs with the same options but for seeds and sizes (tries, images, iterations, stage); scaled",
    "victim": "past jobs of the same kind with the same data set and model; scaled",
    "kind": "past jobs of the same kind alone, so of other models or data; scaled, and perhaps wrong by far",
    "none": "no such past job",
}
"""What an estimate rests on, best first."""

FAIR = ("same", "scaled", "victim")
"""Bases whose estimates may be added up."""

_SEEDS = {"seed", "model_seed", "dummy_seed"}
# What changes the number of images and passes, which work_of() counts, or what costs next to nothing.
_SIZES = {"num_tries", "batch_size", "num_clients", "client_indices", "restarts", "iterations", "local_steps"}
_SIZES |= {"reconstruct_mode", "diffusion_steps", "match_steps", "refine_iterations", "steps", "train_batch_size"}
_CHEAP = {"version", "split", "distribution", "num_uniform_cls", "num_target_cls", "log_every", "prior", "avoid"}
# An attack costs the same on a victim of any stage, and a training the same with any of these.
_CHEAP |= {"stage", "schedule", "length", "optimizer", "scheduler", "lr", "weight_decay", "warmup", "ema"}


class Estimate(NamedTuple):
    """Seconds, NaN if there is no basis, and the basis: a key of :data:`BASES`."""

    seconds: float
    basis: str


class Estimator:
    """Finds the nearest past jobs.

    Args:
        past: timed jobs.
        device: the past jobs that count are those on this one, e.g. ``cuda``; by default where most ran.
    """

    def __init__(self, past: Sequence[PastJob], device: str | None = None) -> None:
        devices = Counter(job.device for job in past)
        self.device = device or (devices.most_common(1)[0][0] if devices else "")
        self._groups: dict[tuple[str, ...], list[PastJob]] = {}
        self.count = 0
        for job in past:
            if job.device == self.device:
                self.count += 1
                for key in _keys(job.spec, job.work):
                    self._groups.setdefault(key, []).append(job)

    def estimate(self, job: Job, resumed: float = 0) -> Estimate:
        """Estimate the wall time of a job.

        Args:
            job: its options.
            resumed: steps of its training that an earlier stage does.
        """
        work = work_of(job, resumed)
        same, *similar = _keys(job, work)
        if same in self._groups:
            return Estimate(float(np.mean([past.seconds for past in self._groups[same]])), "same")
        for key in similar:
            usable = [past for past in self._groups.get(key, ()) if past.work > 0]
            if usable and work > 0:
                return Estimate(_scaled(usable, work), key[0])
        return Estimate(float("nan"), "none")


def _keys(job: Job, work: float) -> list[tuple[str, ...]]:
    """Groups that a job belongs to, one for each basis, nearest first."""
    identity = job.identity()
    unseeded = {name: value for name, value in identity.items() if name not in _SEEDS}
    unsized = {name: value for name, value in unseeded.items() if name not in _SIZES | _CHEAP}
    # The cost of a defense is that of its kind, whatever its strength.
    unsized["defenses"] = [defense_parts(name)[0] for name in unsized.get("defenses", ())]
    unsized.pop("dataset", None)
    # Images of a packaged sample are as large as those of the data set that it is from.
    data = facts.DATASETS[job.dataset].stands_for
    return [
        ("same", job.KIND, str(float(work)), _text({k: v for k, v in unseeded.items() if k not in ("prior", "avoid")})),
        ("scaled", job.KIND, data, _text(unsized)),
        ("victim", job.KIND, data, getattr(job, "model_id", "")),
        ("kind", job.KIND),
    ]


def _text(values: dict[str, Any]) -> str:
    return json.dumps(values, sort_keys=True)


def _scaled(past: Sequence[PastJob], work: float) -> float:
    """The start that the jobs had, and a line through what they took for their own work."""
    by_work: dict[float, list[float]] = {}
    for job in past:
        by_work.setdefault(job.work, []).append(job.seconds - job.start)
    works = np.array(list(by_work))
    busy = np.maximum([float(np.mean(times)) for times in by_work.values()], 1e-3)
    start = float(np.mean([job.start for job in past]))
    return start + _line(works, busy, work)


def _line(works: np.ndarray, busy: np.ndarray, work: float) -> float:
    """Fit a fixed and a proportional part to relative errors, neither of them negative."""
    proportional = float(np.mean(busy / works)) * work
    # Works that are close together say nothing about the fixed part.
    if works.max() < 2 * works.min():
        return proportional
    columns = np.stack([1 / busy, works / busy], axis=1)
    (fixed, slope), *_ = np.linalg.lstsq(columns, np.ones(len(busy)), rcond=None)
    if fixed < 0:
        return proportional
    if slope < 0:
        return float(np.mean(busy))
    return float(fixed + slope * work)
