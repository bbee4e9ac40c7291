"""Exact inversion as an image attack: the images where the first linear layer reads them, else what it does read."""

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import one_hot
from tqdm import tqdm

from gradleak.attacks.exact.inversion import Inversion
from gradleak.attacks.exact.observed import Seen, see
from gradleak.attacks.images.objectives import Objective
from gradleak.attacks.images.problem import Found, Loss, Problem
from gradleak.attacks.labels.consistency import counts_of
from gradleak.clients.observation import Observation


def invert_images(
    problem: Problem, *, objective: Objective, at_once: int | None = None, progress: bool = False
) -> Found:
    """Find each batch's images from the gradients of its linear layers, see :mod:`gradleak.attacks.exact`.

    An image that is not found is the data set's mean, a blank one; its label is that of
    :func:`gradleak.attacks.labels.consistency.consistency`. On Ctrl-C the batches that are not done count as not found.

    Args:
        problem: batches; its starts are not used, nor are labels that are known.
        objective: of the matching loss that is reported.
        at_once: batches that go through the model together when that is computed.
        progress: whether to show how many batches are done.
    """
    P, _, n, *shape = problem.start.shape
    images = torch.zeros(P, n, *shape, dtype=problem.start.dtype, device=problem.start.device)
    labels = torch.zeros(P, n, dtype=torch.int64)
    certified = torch.zeros(P, n, dtype=torch.bool)
    inputs: list[Tensor] = []
    shows_images, C, interrupted = False, problem.label_start.shape[-1], False
    try:
        for number in tqdm(range(P), desc="batches", unit="batch", disable=not progress, dynamic_ncols=True):
            sent = {name: values[number] for name, values in zip(problem.client.names, problem.observed, strict=True)}
            observation = Observation(
                sent, problem.client.model, n, input_shape=tuple(shape), precision=problem.precision
            )
            seen = see(observation)
            inversion = seen.invert(n)
            rows = _rows(inversion)[:n]
            labels[number] = _labels(observation, seen, inversion, rows)
            inputs.append(inversion.inputs[rows])
            certified[number, : len(rows)] = inversion.inputs_certified[rows].cpu()
            shows_images = seen.shows_images
            if shows_images:
                images[number, : len(rows)] = inversion.inputs[rows].reshape(-1, *shape).to(images)
    except KeyboardInterrupt:
        interrupted = True
        inputs += [problem.start.new_zeros(0, 0)] * (P - len(inputs))
    targets = one_hot(labels, C).to(problem.start)
    loss = Loss(replace(problem, start=images[:, None], targets=targets), objective, at_once=at_once)
    match, _ = loss(images, targets)
    return Found(
        images=images,
        targets=targets,
        loss=match,
        chosen=torch.zeros(P, dtype=torch.int64),
        trace=match[None, :, None].cpu(),
        snapshots={},
        diverged=torch.zeros(P, 1, dtype=torch.bool),
        certified=certified,
        interrupted=interrupted,
        inputs=None if shows_images else tuple(inputs),
    )


def _rows(inversion: Inversion) -> Tensor:
    """Return the row of each instance's image, certified ones first: an image that counts m times is there m times."""
    order = torch.argsort(inversion.inputs_certified.int(), descending=True, stable=True)
    return order.repeat_interleave(inversion.multiplicity[order])


def _labels(observation: Observation, seen: Seen, inversion: Inversion, rows: Tensor) -> Tensor:
    """Return labels [n]: those of the images that were found, then the likeliest of the others."""
    n = observation.batch_size
    assert n is not None
    known = inversion.labels[rows].cpu()
    counts = counts_of(observation, seen, inversion).assignable_counts
    if counts is None or len(known) >= n:
        return known[:n] if len(known) >= n else torch.cat([known, known.new_zeros(n - len(known))])
    left = (counts - torch.bincount(known, minlength=len(counts))).clamp(min=0)
    others = torch.arange(len(left)).repeat_interleave(left)
    return torch.cat([known, others, known.new_zeros(n)])[:n]
