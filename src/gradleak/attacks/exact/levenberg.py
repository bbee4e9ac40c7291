"""Batched Levenberg-Marquardt in closed form: many starts of one small least-squares problem side by side."""

from typing import Protocol

import torch
from torch import Tensor


class Problem(Protocol):
    """A sum of squares over unknowns s [m, q], for m starts side by side."""

    def cost(self, s: Tensor) -> Tensor:
        """Return the sums of squares [m]."""
        ...

    def normal(self, s: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the sums of squares [m], J^T f [m, q] and J^T J [m, q, q]."""
        ...


def minimise(problem: Problem, s: Tensor, *, steps: int, tolerance: float = 0.0) -> tuple[Tensor, Tensor]:
    """Take up to ``steps`` steps from each start.

    A start stops where its cost is below ``tolerance``, or where no step lowers it any more.

    Args:
        problem: what is minimised.
        s: [m, q] starts.
        steps: at most.
        tolerance: of the cost, a sum of squares.

    Returns:
        The unknowns [m, q] and their costs [m].
    """
    s = s.clone()
    cost, gradient, hessian = problem.normal(s)
    damping = torch.full_like(cost, 1e-3)
    active = torch.arange(len(s), device=s.device)
    for _ in range(steps):
        active = active[(cost[active] > tolerance) & (damping[active] < 1e8)]
        if not len(active):
            break
        H, g = hessian[active], gradient[active]
        scale = H.diagonal(dim1=1, dim2=2)
        scale = scale.clamp(min=1e-12) + 1e-12 * scale.amax(1, keepdim=True)
        damped = H + torch.diag_embed(damping[active, None] * scale)
        factor, failed = torch.linalg.cholesky_ex(damped)
        step = torch.cholesky_solve(g[..., None], factor)[..., 0]
        tried = s[active] - step
        new = problem.cost(tried)
        better = (new < cost[active]) & (failed == 0)
        chosen = active[better]
        damping[active] = torch.where(better, damping[active] / 6, damping[active] * 5)
        s[chosen] = tried[better]
        # Progress by less than rounding is none.
        damping[chosen] = torch.where(new[better] > 0.999999 * cost[chosen], torch.full_like(new[better], 1e9), damping[chosen])
        if len(chosen):
            cost[chosen], gradient[chosen], hessian[chosen] = problem.normal(s[chosen])
    return s, cost
