"""Input, objective and result of gradient matching, independent of the solver."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from gradleak.attacks.images import regularisers as priors
from gradleak.attacks.images.objectives import Objective
from gradleak.clients.client import Client
from gradleak.errors import InputError
from gradleak.notes import note


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


_TOO_SMALL = "the memory of the GPU does not suffice for"


class Loss:
    """The objective, for K = P R starts side by side.

    If a GPU's memory does not suffice, it goes on with a quarter of the starts at a time, and a line says so.

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
        P, R = problem.start.shape[:2]
        self.client, self.objective = problem.client, objective
        self.at_once = min(at_once or P * R, P * R)
        self.tv_weight, self.l2_weight = tv_weight, l2_weight
        self.target = tuple(g.repeat_interleave(R, dim=0) for g in problem.observed)
        self.labels = None if problem.targets is None else problem.targets.repeat_interleave(R, dim=0)
        self._is_reduced = False

    def __call__(self, x: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Return the matching loss and the whole objective, each [K].

        Args:
            x: [K, n, c, h, w], normalised.
            logits: [K, n, C], of the labels; unused if these are known.

        Raises:
            InputError: the memory does not suffice for fewer starts either.
        """

        def of(part: slice) -> tuple[Tensor, Tensor]:
            with torch.no_grad():
                return self._of(part, x[part], logits[part])

        match, whole = self._in_parts(len(x), of)
        return match, whole

    def derivatives(self, x: Tensor, logits: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """Return both, and the derivatives of the objective by x and the logits (None if labels are known).

        The starts that go through the model together have a graph of their own, which is freed before the next ones
        have theirs: it is what takes the memory.

        Args:
            x: see :meth:`__call__`.
            logits: see :meth:`__call__`.

        Raises:
            InputError: see :meth:`__call__`.
        """
        free = self.labels is None

        def of(part: slice) -> tuple[Tensor, ...]:
            variables = [x[part].detach().requires_grad_(), logits[part].detach().requires_grad_(free)]
            with torch.enable_grad():
                match, whole = self._of(part, *variables)
                slopes = torch.autograd.grad(whole.sum(), variables if free else variables[:1])
            return match.detach(), whole.detach(), *slopes

        match, whole, *slopes = self._in_parts(len(x), of)
        return match, whole, slopes[0], slopes[1] if free else None

    def _of(self, part: slice, x: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Return the matching loss and the whole objective of some starts."""
        targets = torch.softmax(logits, dim=-1) if self.labels is None else self.labels[part]
        match = self.objective(self.client.send_many(x, targets), tuple(g[part] for g in self.target))
        whole = match
        if self.tv_weight:
            whole = whole + self.tv_weight * priors.total_variation(x)
        if self.l2_weight:
            whole = whole + self.l2_weight * priors.energy(x)
        return match, whole

    def _in_parts(self, count: int, of: Callable[[slice], tuple[Tensor, ...]]) -> list[Tensor]:
        while True:
            try:
                parts = [of(slice(first, first + self.at_once)) for first in range(0, count, self.at_once)]
                return [torch.cat(each) for each in zip(*parts, strict=True)] if len(parts) > 1 else list(parts[0])
            except torch.OutOfMemoryError:
                if self.at_once == 1:
                    raise InputError(f"{_TOO_SMALL} one start; give smaller batches or a smaller model") from None
                if self._is_reduced:
                    raise InputError(f"{_TOO_SMALL} {self.at_once} starts; give a smaller --at-once") from None
            # Outside the handler, whose exception holds the tensors of the failed pass.
            before, self.at_once = self.at_once, max(1, self.at_once // 4)
            self._is_reduced = True
            note(f"{_TOO_SMALL} {before} starts at a time: from now on {self.at_once}")
            torch.cuda.empty_cache()
