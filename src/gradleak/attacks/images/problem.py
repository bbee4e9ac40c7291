"""Input, objective and result of gradient matching, independent of the solver."""

from dataclasses import dataclass

import torch
from torch import Tensor

from gradleak.attacks.images import regularisers as priors
from gradleak.attacks.images.objectives import Objective
from gradleak.clients.client import Client


@dataclass(frozen=True)
class Problem:
    """P batches to reconstruct, of n images each.

    Attributes:
        client: simulates what the clients did.
        observed: what they sent: one tensor [P, ...] per parameter.
        start: [P, R, n, c, h, w], normalised initial images.
        targets: [P, n, C] one-hot labels if they are known; None if they are optimised too.
        label_start: [P, R, n, C], initial logits of the labels; used if these are not known.
        low: [c, 1, 1], normalised black.
        high: [c, 1, 1], normalised white.
        precision: type in which the gradients were sent, if it is coarser than that of the tensors.
    """

    client: Client
    observed: tuple[Tensor, ...]
    start: Tensor
    targets: Tensor | None
    label_start: Tensor
    low: Tensor
    high: Tensor
    precision: torch.dtype | None = None


@dataclass(frozen=True)
class Found:
    """What the engine returns.

    Attributes:
        images: [P, n, c, h, w], normalised: the iterate with the smallest matching loss over all starts.
        targets: [P, n, C], probabilities of its labels: one-hot if they are known.
        loss: [P], that loss; infinite if no start had a finite one (images are then those of some start).
        chosen: [P] int64, index of the start.
        trace: [iterations, P, R] matching losses; NaN where a start had diverged.
        snapshots: iteration -> [P, n, c, h, w] of the chosen start.
        diverged: [P, R] bool, starts whose loss became infinite or NaN.
        interrupted: whether the user stopped it.
        certified: [P, n] bool, images that the attack vouches for; None if it certifies nothing.
        inputs: per problem what the first linear layer reads of each instance that was found, [k, d], k <= n, in the
            order of the images; None if these are the images.
    """

    images: Tensor
    targets: Tensor
    loss: Tensor
    chosen: Tensor
    trace: Tensor
    snapshots: dict[int, Tensor]
    diverged: Tensor
    interrupted: bool = False
    certified: Tensor | None = None
    inputs: tuple[Tensor, ...] | None = None

    @property
    def labels(self) -> Tensor:
        """[P, n] int64, the most likely labels."""
        return self.targets.argmax(-1)

    @classmethod
    def choose(
        cls,
        problem: Problem,
        images: Tensor,
        logits: Tensor,
        losses: Tensor,
        diverged: Tensor,
        trace: list[Tensor],
        snapshots: dict[int, Tensor],
        *,
        interrupted: bool,
    ) -> "Found":
        """Keep the start with the smallest matching loss of each problem.

        Args:
            problem: the problems.
            images: [K, n, c, h, w], normalised, of K = P R starts.
            logits: [K, n, C], of optimised labels.
            losses: [K] matching losses; infinite for starts that diverged.
            diverged: [K] bool.
            trace: [K] per iteration.
            snapshots: iteration -> [P, R, n, c, h, w] on the CPU.
            interrupted: whether the user stopped it.
        """
        P, R = problem.start.shape[:2]
        losses = losses.reshape(P, R)
        chosen = losses.argmin(1)
        rows = torch.arange(P, device=chosen.device)
        of_labels = logits.reshape(P, R, *logits.shape[1:])[rows, chosen]
        return cls(
            images=images.reshape(problem.start.shape)[rows, chosen],
            targets=problem.targets if problem.targets is not None else torch.softmax(of_labels, dim=-1),
            loss=losses[rows, chosen],
            chosen=chosen,
            trace=torch.stack(trace).reshape(-1, P, R) if trace else torch.empty(0, P, R),
            snapshots={at: shown[rows.cpu(), chosen.cpu()] for at, shown in snapshots.items()},
            diverged=diverged.reshape(P, R),
            interrupted=interrupted,
        )


class Loss:
    """The objective, for K = P R starts side by side.

    Args:
        problem: the problems.
        objective: distance between gradients.
        tv_weight: factor of the total variation.
        l2_weight: factor of the pixels' energy (half their mean square).
        at_once: number of starts that go through the model together; None: all.
    """

    def __init__(
        self,
        problem: Problem,
        objective: Objective,
        *,
        tv_weight: float = 0.0,
        l2_weight: float = 0.0,
        at_once: int | None = None,
    ) -> None:
        R = problem.start.shape[1]
        self.client, self.objective, self.at_once = problem.client, objective, at_once
        self.tv_weight, self.l2_weight = tv_weight, l2_weight
        self.target = tuple(g.repeat_interleave(R, dim=0) for g in problem.observed)
        self.labels = None if problem.targets is None else problem.targets.repeat_interleave(R, dim=0)

    def __call__(self, x: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Return the matching loss and the whole objective, each [K].

        Args:
            x: [K, n, c, h, w], normalised.
            logits: [K, n, C], of the labels; unused if these are known.
        """
        targets = torch.softmax(logits, dim=-1) if self.labels is None else self.labels
        match = self.objective(self.client.send_many(x, targets, at_once=self.at_once), self.target)
        whole = match
        if self.tv_weight:
            whole = whole + self.tv_weight * priors.total_variation(x)
        if self.l2_weight:
            whole = whole + self.l2_weight * priors.energy(x)
        return match, whole

    def derivatives(self, whole: Tensor, x: Tensor, logits: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the derivatives of the objective with respect to x and the logits (None if labels are known)."""
        if self.labels is not None:
            return torch.autograd.grad(whole.sum(), x)[0], None
        by_x, by_logits = torch.autograd.grad(whole.sum(), (x, logits))
        return by_x, by_logits
