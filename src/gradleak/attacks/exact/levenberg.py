"""Batched Levenberg-Marquardt in closed form: many starts of one small least-squares problem side by side."""

from typing import Protocol, Self

import torch
from torch import Tensor


class Problem(Protocol):
    """A sum of squares |f|^2 over unknowns s [m, q], for m starts side by side.

    Attributes:
        slope: [width, q], derivative of the first layer's output by the unknowns.
    """

    slope: Tensor

    def of(self, rows: Tensor) -> Self:
        """Return the problem of some of the starts."""
        ...

    def cost(self, s: Tensor) -> Tensor:
        """Return the sums of squares [m]."""
        ...

    def normal(self, s: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the sums of squares [m], J^T f [m, q] and J^T J [m, q, q]."""
        ...


NONE = 1e-12
"""Damping of last steps, which is none."""

_STUCK = 1e8
"""Damping at which a start has stopped."""

NUMBERS = 2**27
"""Numbers in the derivatives of the starts that are held at once (1 GiB)."""


def minimise(
    problem: Problem, s: Tensor, *, steps: int, tolerance: float = 0.0, gain: float = 1e-6, damping: float = 1e-3
) -> tuple[Tensor, Tensor]:
    """Take up to ``steps`` steps from each start.

    A start stops where its sum of squares is below ``tolerance``, or a free step lowers it by less than ``gain``.

    Args:
        problem: what is minimised.
        s: [m, q] starts.
        steps: at most.
        tolerance: of a sum of squares.
        gain: share of a sum of squares.
        damping: of the first step, relative to the diagonal of J^T J; small where the starts are near a root.

    Returns:
        The unknowns [m, q] and their sums of squares [m].
    """
    if not s.shape[1]:
        return s, problem.cost(s)
    s = s.clone()
    cost, gradient, hessian = problem.normal(s)
    smallest = 1e-12 if s.dtype == torch.float64 else 1e-6
    dampings = torch.full_like(cost, damping)
    for _ in range(steps):
        active = torch.nonzero((cost > tolerance) & (dampings < _STUCK)).flatten()
        if not len(active):
            break
        H = hessian[active]
        scale = H.diagonal(dim1=1, dim2=2)
        scale = scale + smallest * scale.amax(1, keepdim=True)
        factor, failed = torch.linalg.cholesky_ex(H + torch.diag_embed(dampings[active, None] * scale))
        step = torch.cholesky_solve(gradient[active][..., None], factor)[..., 0]
        tried = s[active] - step
        new = problem.of(active).cost(tried)
        better = (new < cost[active]) & (failed == 0)
        ended = better & (new > (1 - gain) * cost[active]) & (dampings[active] < 1)
        dampings[active] = torch.where(better, dampings[active] / 6, dampings[active] * 5)
        dampings[active[ended]] = _STUCK
        moved = active[better]
        s[moved] = tried[better]
        if len(moved):
            cost[moved], gradient[moved], hessian[moved] = problem.of(moved).normal(s[moved])
    return s, cost


def minimise_in_parts(
    problem: Problem, s: Tensor, *, steps: int, tolerance: float = 0.0, gain: float = 1e-6, damping: float = 1e-3
) -> tuple[Tensor, Tensor]:
    """Do the same in parts that fit into memory."""
    each = max(1, NUMBERS // max(1, problem.slope.numel()))
    parts = [
        minimise(problem.of(part), s[part], steps=steps, tolerance=tolerance, gain=gain, damping=damping)
        for part in torch.arange(len(s), device=s.device).split(each)
    ]
    return torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts])
