"""Sparse search: what a ReLU network reads at its second layer is 0 wherever a unit is inactive.

On a trained network most units are. The inputs of the second layer are then the sparsest vectors of its row space, and
they need no guess of the first layer's input: each lies in a space of as many dimensions as there are images, which its
zeros alone fix. The search minimises a sum of logarithms by reweighted least squares (Candes, Wakin and Boyd 2008,
section 5; Chartrand and Yin 2008 for the squares), with more weight for entries below 0, which a ReLU has none of.
"""

import copy

import torch
from torch import Tensor

from gradleak.attacks.exact.affine import Affine
from gradleak.attacks.exact.known import Known
from gradleak.attacks.exact.levenberg import NUMBERS, minimise_in_parts
from gradleak.attacks.exact.network import Layer, activate

_STEPS = 25

_SMOOTH, _SMOOTHEST, _FALL = 0.03, 1e-3, 0.85
"""Size of an entry that counts as 0 over the mean entry of a start: at first, at last, and from step to step."""

_BELOW = 10.0
"""Weight of an entry below 0, over that of one as far above."""

_ZERO = 1e-3
"""Share of the largest entry up to which a unit is inactive."""


def rectifies(layer: Layer) -> bool:
    """Whether a layer's activation is a ReLU's: 0 below 0 and the argument above."""
    a = torch.linspace(-64, 64, 129, dtype=torch.float64, device=layer.weight.device)
    h, _ = activate(layer, a[:, None].expand(-1, len(layer.bias)))
    return bool((h == a.clamp(min=0)[:, None]).all())


def sparse_inputs(affine: Affine, h: Tensor) -> Tensor:
    """Return inputs of the second layer [m, width] with few entries above 0.

    Args:
        affine: where they lie.
        h: [m, width] where each begins.
    """
    each = max(1, NUMBERS // max(1, affine.basis.numel()))
    return torch.cat([_sparse(affine, part) for part in h.split(each)])


def _sparse(affine: Affine, h: Tensor) -> Tensor:
    mean = h.clamp(min=0).mean(1, keepdim=True)
    smooth = _SMOOTH
    for _ in range(_STEPS):
        weight = 1 / (h.square() + (smooth * mean).square())
        weight = torch.where(h < 0, _BELOW * weight, weight)
        weight = weight / weight.amax(1, keepdim=True)
        H = affine.basis.T @ (weight[..., None] * affine.basis)
        H = H + torch.diag_embed(1e-12 * H.diagonal(dim1=1, dim2=2).amax(1, keepdim=True).expand(-1, H.shape[1]))
        factor, _ = torch.linalg.cholesky_ex(H)
        u = torch.cholesky_solve(-((weight * affine.origin) @ affine.basis)[..., None], factor)[..., 0]
        h = affine.inputs(u)
        smooth = max(_FALL * smooth, _SMOOTHEST)
    return h


class _Behind:
    """First layer's inputs that lead to inputs of the second: units active there equal them, the others are below 0."""

    def __init__(self, layer: Layer, affine: Affine, h: Tensor, known: Known) -> None:
        self.origin, self.slope = layer.weight @ affine.origin + layer.bias, layer.weight @ affine.basis
        self.h, self.known = h, known
        self.active = h > _ZERO * h.amax(1, keepdim=True)

    def of(self, rows: Tensor) -> "_Behind":
        other = copy.copy(self)
        other.h, other.known, other.active = self.h[rows], self.known.of(rows), self.active[rows]
        return other

    def _residuals(self, s: Tensor) -> Tensor:
        a = self.origin + s @ self.slope.T
        return torch.where(self.active, a - self.h, a.clamp(min=0))

    def cost(self, s: Tensor) -> Tensor:
        return self._residuals(s).square().sum(1) + self.known.cost(s)

    def normal(self, s: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        f = self._residuals(s)
        counts = (self.active | (f > 0)).to(s.dtype)
        cost = f.square().sum(1) + self.known.cost(s)
        return (
            cost,
            f @ self.slope + self.known.gradient(s),
            self.slope.T @ (counts[..., None] * self.slope) + self.known.gram(),
        )


def behind(layer: Layer, affine: Affine, h: Tensor, s: Tensor, known: Known) -> Tensor:
    """Return unknowns [m, q] of first layer's inputs that lead to inputs h [m, width] of the second.

    Args:
        layer: the first one.
        affine: where its inputs lie.
        h: of the second layer.
        s: [m, q] where each begins.
        known: further equations, which decide among the many that do.
    """
    return minimise_in_parts(_Behind(layer, affine, h, known), s, steps=40)[0]
