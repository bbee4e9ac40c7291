"""Gradient matching on the user's model, as far as the time goes."""

import math
import time
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from gradleak.attacks.images.engine import Matching, reconstruct
from gradleak.attacks.images.problem import Found, Problem
from gradleak.attacks.images.starts import start
from gradleak.audit.options import Told
from gradleak.audit.simulated import Simulated, picture_shape
from gradleak.audit.time_limit import TimeUp, limited
from gradleak.clients.observation import Observation
from gradleak.streams import stream

_STARTS = 2
"""Starts side by side; only one where torch.func cannot follow the model."""

MOST_ITERATIONS = 4800
"""Iterations at most; as in the released code of Geiping et al. (NeurIPS 2020)."""

_TRIED = 1
"""Iterations from which the time of one is told; their result needs one more evaluation."""

_LEAST = 1.0
"""Seconds that matching gets in any case."""

_TOTAL_VARIATION = 1e-4


@dataclass(frozen=True)
class Matched:
    """A reconstruction by gradient matching.

    Attributes:
        images: [B, *input_shape], as the model reads them.
        labels: [B] int64.
        loss: one minus the cosine of the gradients.
        iterations: how many there was time for.
        starts: of these the one with the smallest loss is kept.
        interrupted: whether the user stopped it.
    """

    images: Tensor
    labels: Tensor
    loss: float
    iterations: int
    starts: int
    interrupted: bool


def match(
    observation: Observation,
    labels: Tensor,
    told: Told,
    *,
    client: Simulated,
    seconds: float,
    progress: bool,
) -> Matched:
    """Reconstruct a batch by matching its gradient with restored labels (IG; Geiping et al., NeurIPS 2020).

    The cosine does not depend on the scale of the gradient.

    Args:
        observation: what the server sees.
        labels: [B] int64, restored.
        told: the client's training, normalisation and the seed.
        client: the client as the server simulates it.
        seconds: the time for it.
        progress: whether to show progress.

    Raises:
        TimeUp: there was no time for a single iteration.
    """
    problem = _problem(observation, labels, told, client)
    is_image = len(observation.input_shape) == 3
    matching = Matching(
        objective="sim",
        optimizer="adam",
        lr=0.1,
        schedule="step",
        iterations=_TRIED,
        signed=True,
        boxed=bool(told.std),
        tv_weight=_TOTAL_VARIATION if is_image else 0.0,
        log_every=MOST_ITERATIONS,
    )
    began = time.perf_counter()
    torch.func.vmap(torch.func.grad(lambda x: x.sum()))(torch.ones(1, 1))  # torch imports parts of itself, for seconds
    seconds = max(seconds - (time.perf_counter() - began), _LEAST)
    with limited(seconds) as limit:
        try:
            found = _in_time(problem, matching, seconds, progress=progress)
        except RuntimeError:  # a forward method that torch.func cannot follow: item(), checkpoints, its own derivatives
            problem = replace(problem, start=problem.start[:, :1], label_start=problem.label_start[:, :1])
            found = _in_time(problem, matching, seconds, progress=progress)
    if limit.is_up and not math.isfinite(float(found.loss[0])):
        raise TimeUp
    return Matched(
        images=found.images[0].reshape(len(labels), *observation.input_shape).detach().cpu(),
        labels=labels,
        loss=float(found.loss[0]),
        iterations=len(found.trace),
        starts=problem.start.shape[1],
        interrupted=found.interrupted and not limit.is_up,
    )


def _in_time(problem: Problem, matching: Matching, seconds: float, *, progress: bool) -> Found:
    """Reconstruct in as many iterations as there is time for, of which one tells how long it takes."""
    began = time.perf_counter()
    found = reconstruct(problem, matching)
    took = time.perf_counter() - began
    iterations = int(0.95 * (seconds - took) / (took / (_TRIED + 1)))
    if found.interrupted or iterations <= _TRIED:
        return found
    return reconstruct(problem, replace(matching, iterations=min(MOST_ITERATIONS, iterations)), progress=progress)


def _problem(observation: Observation, labels: Tensor, told: Told, client: Simulated) -> Problem:
    shape, like = picture_shape(observation.input_shape), client.observed[0]
    starts = [
        start("randn", (len(labels), *shape), 1.0, stream("audit", told.seed, number), lambda: torch.empty(0))
        for number in range(_STARTS)
    ]
    mean, std = (
        torch.tensor(each or (default,), dtype=like.dtype).reshape(-1, 1, 1)
        for each, default in ((told.mean, 0.0), (told.std, 1.0))
    )
    targets = client.targets(labels)
    return Problem(
        client=client.client,
        observed=tuple(gradient[None] for gradient in client.observed),
        start=torch.stack(starts)[None].to(like),
        targets=targets[None],
        label_start=torch.zeros(1, _STARTS, *targets.shape, dtype=like.dtype),
        low=((0 - mean) / std).expand(shape[0], 1, 1),
        high=((1 - mean) / std).expand(shape[0], 1, 1),
        precision=observation.precision,
    )
