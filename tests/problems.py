"""Small problems for the engine, and attacks that solve them."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional

from gradleak.attacks.images import objectives
from gradleak.attacks.images.engine import Matching
from gradleak.attacks.images.problem import Problem
from gradleak.clients.client import Client
from gradleak.clients.local_training import LocalTraining
from gradleak.victims.models.base import Victim

Make = Callable[..., Victim]
Sent = tuple[Tensor, ...]
Spoil = Callable[[Callable[[int, Sent], Sent]], None]

C = 4
LOW, HIGH = torch.tensor([-1.5, -2.0]).reshape(2, 1, 1), torch.tensor([1.0, 2.0]).reshape(2, 1, 1)
LABELS = torch.tensor([[2, 0], [1, 1]])
IG = Matching(
    objective="sim",
    optimizer="adam",
    lr=0.1,
    schedule="step",
    iterations=16,
    signed=True,
    boxed=True,
    tv_weight=1e-2,
    log_every=1,
)
DLG = Matching(iterations=4, log_every=1)


def onehot(y: Tensor) -> Tensor:
    return functional.one_hot(y, C).double()


def problem(
    model: Victim, y: Tensor, *, restarts: int, known: bool, size: int = 4, seed: int = 0
) -> tuple[Problem, Tensor]:
    """Return P batches of n images in the box with R random starts each, and the images that the server must not see.

    Every start has its own stream, so that a problem with fewer starts has the first ones.
    """
    P, n = y.shape
    generator = torch.Generator().manual_seed(seed)
    truth = LOW + (HIGH - LOW) * torch.rand(P, n, 2, size, size, generator=generator, dtype=torch.float64)
    streams = [torch.Generator().manual_seed(1000 * seed + restart) for restart in range(1, restarts + 1)]
    x = torch.stack([torch.randn(P, n, 2, size, size, generator=g, dtype=torch.float64) for g in streams], dim=1)
    logits = torch.stack([torch.randn(P, n, C, generator=g, dtype=torch.float64) for g in streams], dim=1)
    client = Client(model, LocalTraining())
    observed = client.send_many(truth, onehot(y))
    return Problem(client, observed, x, onehot(y) if known else None, logits, LOW, HIGH), truth


def without(given: Problem, *, starts: list[int]) -> Problem:
    return replace(given, start=given.start[:, starts], label_start=given.label_start[:, starts])


def only(given: Problem, number: int) -> Problem:
    """Return one of P problems."""
    rows = slice(number, number + 1)
    targets = None if given.targets is None else given.targets[rows]
    observed = tuple(g[rows] for g in given.observed)
    return replace(
        given, observed=observed, start=given.start[rows], label_start=given.label_start[rows], targets=targets
    )


def loss_of(given: Problem, matching: Matching, images: Tensor) -> Tensor:
    """Return the matching loss [P] of images with the known labels."""
    assert given.targets is not None
    objective = objectives.build(matching.objective, indices=matching.indices, weights=matching.weights)
    return objective(given.client.send_many(images, given.targets), given.observed)
