"""Whether a root stands alone: the Jacobian speaks for small deviations only, and an activation's kinks hide others.

Two images that are nearly alike can leave a valley between them whose floor is lower than noise, though the Jacobian at
each end is regular. So each root is pushed along its weakest direction, and solved for again.
"""

import torch
from torch import Tensor

from gradleak.attacks.exact.affine import Affine
from gradleak.attacks.exact.levenberg import Problem, minimise

_PUSHES = (1e-2, -1e-2, 1e-4, -1e-4)
"""Lengths of the pushes, relative to the input."""

_SAME = 0.1
"""Relative distance beyond which a root is another image's."""


def wander(problem: Problem, affine: Affine, s: Tensor, *, as_low: float = 10.0) -> Tensor:
    """Return how far from each root another one is that noise cannot tell from it, relative to the input's length: [k].

    Args:
        problem: whose roots they are.
        affine: where the inputs lie.
        s: [k, q] roots.
        as_low: residuals that differ by no more than this factor count as equal.
    """
    farthest = s.new_zeros(len(s))
    if not s.shape[1] or not len(s):
        return farthest
    cost, _, hessian = problem.normal(s)
    _, vectors = torch.linalg.eigh(hessian)
    h = affine.inputs(s)
    size = h.norm(dim=1)
    for push in _PUSHES:
        ends, height = minimise(problem, s + push * size[:, None] * vectors[:, :, 0], steps=15)
        distance = (affine.inputs(ends) - h).norm(dim=1) / size
        counts = (height <= as_low**2 * cost) & (distance < _SAME)
        farthest = torch.where(counts, torch.maximum(farthest, distance), farthest)
    return farthest
