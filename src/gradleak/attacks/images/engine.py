"""Gradient matching: find images whose gradient is the observed one.

One loop serves all published attacks. DLG (Zhu, Liu, Han 2019) is the l2 objective with L-BFGS and labels optimised
with the images; IG (Geiping et al., NeurIPS 2020) is the cosine objective with signed Adam, a total-variation prior and
a box. Every problem (such as a client's batch) has several starts, and all starts of all problems run side by side.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor
from tqdm import tqdm

from gradleak.attacks.images import objectives
from gradleak.attacks.images import regularisers as priors
from gradleak.attacks.images.lbfgs import LBFGS
from gradleak.attacks.images.problem import Found, Loss, Problem


@dataclass(frozen=True)
class Matching:
    """Settings of the engine.

    Attributes:
        objective: name in the catalogue, see :mod:`gradleak.attacks.images.objectives`.
        indices: see :data:`gradleak.attacks.images.objectives.INDICES`.
        weights: see :data:`gradleak.attacks.images.objectives.WEIGHTS`.
        optimizer: L-BFGS, Adam, AdamW or SGD (Nesterov momentum 0.9). One iteration of L-BFGS has up to 20 inner
            steps.
        lr: step size of the optimiser.
        schedule: ``step``: step size x0.1 at 3/8, 5/8 and 7/8 of the iterations; or ``constant``.
        iterations: iterations of the optimiser.
        signed: use only the sign of the derivative with respect to the image (not with L-BFGS).
        boxed: project pixels into their valid range after each iteration; all returned pixels are valid.
        tv_weight: factor of the total variation.
        l2_weight: factor of the pixels' energy (half their mean square).
        median: apply a median filter every so many iterations; 0: never.
        loss_thresh: stop when every problem has a start with a matching loss below this.
        log_every: iterations between two snapshots.
        at_once: number of starts that go through the model together; None: all.
    """

    objective: str = "l2"
    indices: str = "def"
    weights: str = "equal"
    optimizer: Literal["lbfgs", "adam", "adamw", "sgd"] = "lbfgs"
    lr: float = 1.0
    schedule: Literal["step", "constant"] = "constant"
    iterations: int = 300
    signed: bool = False
    boxed: bool = False
    tv_weight: float = 0.0
    l2_weight: float = 0.0
    median: int = 0
    loss_thresh: float = 0.0
    log_every: int = 20
    at_once: int | None = None


@dataclass
class _Run:
    """The K = P R starts of all problems, and the best iterate of each."""

    problem: Problem
    matching: Matching
    x: Tensor = field(init=False)
    logits: Tensor = field(init=False)

    def __post_init__(self) -> None:
        problem = self.problem
        P, R = problem.start.shape[:2]
        self.x = problem.start.flatten(0, 1).clone()
        self.logits = problem.label_start.flatten(0, 1).clone()
        matching = self.matching
        self.loss = Loss(
            problem,
            objectives.build(matching.objective, indices=matching.indices, weights=matching.weights),
            tv_weight=matching.tv_weight,
            l2_weight=matching.l2_weight,
            at_once=matching.at_once,
        )
        self.free = problem.targets is None
        self.best_loss = torch.full((P * R,), torch.inf, device=self.x.device)
        self.best_x, self.best_logits = self.x.clone(), self.logits.clone()
        self.diverged = torch.zeros(P * R, dtype=torch.bool, device=self.x.device)

    def evaluate(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return the matching loss [K] and the derivatives of the whole objective with respect to x and the logits."""
        match, self.value, by_x, by_logits = self.loss.derivatives(self.x, self.logits)
        self._note(match)
        return match, by_x, torch.zeros_like(self.logits) if by_logits is None else by_logits

    def _note(self, match: Tensor) -> None:
        """Keep the best iterates so far by the matching loss, which the server can see."""
        self.diverged |= ~torch.isfinite(match)
        better = (match < self.best_loss) & ~self.diverged
        if self.matching.boxed:  # the start, and inner steps of L-BFGS, may lie outside the box
            x = self.x.detach()
            better &= ((x >= self.problem.low) & (x <= self.problem.high)).flatten(1).all(1)
        self.best_loss = torch.where(better, match, self.best_loss)
        self.best_x = torch.where(better[:, None, None, None, None], self.x.detach(), self.best_x)
        self.best_logits = torch.where(better[:, None, None], self.logits.detach(), self.best_logits)


def reconstruct(problem: Problem, matching: Matching, *, progress: bool = False) -> Found:
    """Solve all problems.

    A start whose loss becomes infinite or NaN is dropped: its best iterate is kept, and the others continue. A
    keyboard interrupt ends the loop with the best so far.

    Args:
        problem: the problems.
        matching: settings.
        progress: show a bar on standard error.
    """
    run = _Run(problem, matching)
    P, R = problem.start.shape[:2]
    advance = _lbfgs(run) if matching.optimizer == "lbfgs" else _first_order(run)
    trace: list[Tensor] = []
    snapshots: dict[int, Tensor] = {}
    interrupted = False
    bar = tqdm(range(matching.iterations), desc="matching", unit="it", disable=not progress, dynamic_ncols=True)
    try:
        for iteration in bar:
            match = advance(iteration)
            trace.append(torch.where(run.diverged, torch.nan, match).cpu())
            if matching.boxed:
                priors.clamp_(run.x, problem.low, problem.high)
            if matching.median and (iteration + 1) % matching.median == 0 and iteration + 1 < matching.iterations:
                run.x.copy_(priors.median_filter(run.x))
            if (iteration + 1) % matching.log_every == 0 or iteration == 0:
                snapshots[iteration + 1] = run.x.detach().reshape(problem.start.shape).to("cpu", copy=True)
                bar.set_postfix_str(f"loss {float(run.best_loss.min()):.3g}", refresh=False)
            if matching.loss_thresh and bool((run.best_loss.reshape(P, R).amin(1) < matching.loss_thresh).all()):
                break
        run.evaluate()  # evaluate the result of the last step too
    except KeyboardInterrupt:
        interrupted = True
    return Found.choose(
        problem,
        run.best_x,
        run.best_logits,
        run.best_loss,
        run.diverged,
        trace,
        snapshots,
        interrupted=interrupted,
    )


def _lbfgs(run: _Run) -> Callable[[int], Tensor]:
    """Optimise images and labels of a start as one vector, as in DLG."""
    solver = LBFGS(lr=run.matching.lr)
    size = run.x[0].numel()
    free = run.free

    def put(point: Tensor) -> None:
        run.x.copy_(point[:, :size].reshape(run.x.shape))
        if free:
            run.logits.copy_(point[:, size:].reshape(run.logits.shape))

    def closure(point: Tensor) -> tuple[Tensor, Tensor]:
        put(point)
        nonlocal latest
        latest, of_x, of_logits = run.evaluate()
        return run.value, torch.cat([of_x.flatten(1), *([of_logits.flatten(1)] if free else [])], dim=1)

    latest = torch.full_like(run.best_loss, torch.nan)

    def advance(_: int) -> Tensor:
        point = torch.cat([run.x.flatten(1), *([run.logits.flatten(1)] if free else [])], dim=1)
        solver.step(point, closure)
        put(point)
        return latest

    return advance


def _first_order(run: _Run) -> Callable[[int], Tensor]:
    """Adam, AdamW and SGD are elementwise, so torch's optimisers handle all starts at once."""
    matching = run.matching
    variables = [run.x, run.logits] if run.free else [run.x]
    optimizers = {
        "adam": lambda: torch.optim.Adam(variables, lr=matching.lr),
        "adamw": lambda: torch.optim.AdamW(variables, lr=matching.lr),
        "sgd": lambda: torch.optim.SGD(variables, lr=matching.lr, momentum=0.9, nesterov=True),
    }
    optimizer = optimizers[matching.optimizer]()
    marks = [round(matching.iterations * part / 8) for part in (3, 5, 7)]

    def advance(iteration: int) -> Tensor:
        match, of_x, of_logits = run.evaluate()
        run.x.grad = of_x.sign() if matching.signed else of_x
        run.logits.grad = of_logits
        if matching.schedule == "step":
            passed = sum(iteration >= mark for mark in marks)
            for group in optimizer.param_groups:
                group["lr"] = matching.lr * 0.1**passed
        optimizer.step()
        return match

    return advance
