"""Whether a root stands alone: the Jacobian speaks for small deviations only, and an activation's kinks hide others.

Two images that are nearly alike can leave a valley between them whose floor is lower than noise, though the Jacobian at
each end is regular. So each root is pushed along its weakest direction, and solved for again.
"""

import torch
from torch import Tensor

from gradleak.attacks.exact.affine import Affine
from gradleak.attacks.exact.levenberg import NONE, Problem, minimise

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
    if not s.shape[1] or not len(s):
        return s.new_zeros(len(s))
    cost, gradient, hessian = problem.normal(s)
    values, vectors = torch.linalg.eigh(hessian)
    step = (vectors.mT @ gradient[..., None])[..., 0] / values.clamp(min=1e-300)
    h = affine.inputs(s)
    size = h.norm(dim=1)
    farthest = step.norm(dim=1) / size  # that is still to go
    for push in _PUSHES:
        ends, _ = minimise(problem, s + push * size[:, None] * vectors[:, :, 0], steps=10)
        ends, height = minimise(problem, ends, steps=4, damping=NONE)
        distance = (affine.inputs(ends) - h).norm(dim=1) / size
        counts = (height <= as_low**2 * cost) & (distance < _SAME)
        farthest = torch.where(counts, torch.maximum(farthest, distance), farthest)
    return farthest
