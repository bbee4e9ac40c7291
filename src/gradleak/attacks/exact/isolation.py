"""Whether a root stands alone: the Jacobian speaks for small deviations only, and an activation's kinks hide others.

Two images that are nearly alike can leave a valley between them whose floor is lower than noise, though the Jacobian at
each end is regular. So each root is pushed along its weakest direction, and solved for again.
"""

import torch
from torch import Tensor

from gradleak.attacks.exact.affine import Affine
from gradleak.attacks.exact.levenberg import NONE, Problem, minimise
from gradleak.attacks.exact.uncertainty import eigen

_PUSHES = (1e-2, -1e-2, 1e-4, -1e-4)
"""Lengths of the pushes, relative to the input."""

_FIRM = 1e-3
"""Smallest over largest eigenvalue of J^T J from which a root is taken for isolated without a push."""

_SAME = 0.1
"""Relative distance beyond which a root is another image's."""


def weakly_isolated(hessian: Tensor) -> Tensor:
    """Return the numbers of the roots, of J^T J [k, q, q], that a push may lead elsewhere."""
    values, _ = eigen(hessian)
    return torch.nonzero(~(values[:, 0] >= _FIRM * values[:, -1])).flatten()


def wander(problem: Problem, affine: Affine, s: Tensor, *, as_low: float = 10.0) -> Tensor:
    """Return how far from each root another one is that noise cannot tell from it, relative to the input's length: [k].

    It is infinite where J^T J is not finite.

    Args:
        problem: whose roots they are.
        affine: where the inputs lie.
        s: [k, q] roots.
        as_low: residuals that differ by no more than this factor count as equal.
    """
    if not s.shape[1] or not len(s):
        return s.new_zeros(len(s))
    cost, gradient, hessian = problem.normal(s)
    values, vectors = eigen(hessian)
    step = (vectors.mT @ gradient[..., None])[..., 0] / values.clamp(min=1e-300)
    h = affine.inputs(s)
    size = h.norm(dim=1)
    farthest = step.norm(dim=1) / size  # that is still to go
    farthest = farthest.masked_fill(~hessian.isfinite().all((1, 2)), torch.inf)
    weak = torch.nonzero(values[:, 0] < _FIRM * values[:, -1]).flatten()
    for push in _PUSHES if len(weak) else ():
        pushed = s[weak] + push * size[weak, None] * vectors[weak, :, 0]
        ends, _ = minimise(problem.of(weak), pushed, steps=10)
        ends, height = minimise(problem.of(weak), ends, steps=4, damping=NONE)
        distance = (affine.inputs(ends) - h[weak]).norm(dim=1) / size[weak]
        counts = (height <= as_low**2 * cost[weak]) & (distance < _SAME)
        farthest[weak] = torch.where(counts, torch.maximum(farthest[weak], distance), farthest[weak])
    return farthest
