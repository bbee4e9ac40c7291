"""Equations that images found already give for the others: they pair to 0 (:mod:`gradleak.attacks.exact.pairing`).

A ReLU network needs them on trained victims: an input that activates fewer units than there are unknowns is not fixed
by the next layer alone, but by the next layer and the images found before.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from gradleak.attacks.exact.affine import Affine
from gradleak.attacks.exact.evidence import Evidence, own_rounding
from gradleak.attacks.exact.network import Network, augmented
from gradleak.attacks.exact.spans import Span


@dataclass(frozen=True)
class Known:
    """Linear equations rows . s + offsets = 0 in the unknowns of m candidates.

    Attributes:
        rows: [k, q].
        offsets: [k].
        weights: [m, k], variance of a residual of the other equations over the variance of this one.
        variance: [m], of a residual of the other equations.
    """

    rows: Tensor
    offsets: Tensor
    weights: Tensor
    variance: Tensor

    def of(self, index: Tensor) -> "Known":
        """Return those of some candidates."""
        return replace(self, weights=self.weights[index], variance=self.variance[index])

    def residuals(self, s: Tensor) -> Tensor:
        """Return [m, k] of unknowns s [m, q]."""
        return s @ self.rows.T + self.offsets

    def gram(self) -> Tensor:
        """Return J^T J [m, q, q]."""
        return self.rows.T @ (self.weights[..., None] * self.rows)


def equations(
    network: Network, spans: Sequence[Span], affine: Affine, found: Evidence, h: Tensor, *, of_themselves: bool
) -> Known:
    """Return the equations that images give for candidates.

    Args:
        network: the layers.
        spans: of the gradient of each.
        affine: where the candidates lie, in the whole row space.
        found: the images.
        h: [m, in] candidates, close to where they will be.
        of_themselves: whether the candidates are the images: an image gives no equation for itself.
    """
    span = spans[0]
    c = found.errors[0] @ span.left
    c_dual = c / span.values
    t = augmented(h) @ span.right
    strength = (t / span.values).norm(dim=1)
    passed = network.forward(found.inputs)
    own = own_rounding(network, passed, found.errors)
    shaken = (found.of_errors + own) * c.norm(dim=1) + span.error_noise(c) * span.rank**0.5
    size = c_dual.norm(dim=1)
    moved = span.input_noise(t)[:, None] * size
    variance = moved.square() + (shaken * strength[:, None]).square() + (span.noise * size * strength[:, None]).square()
    following = spans[1]
    u = augmented(network.forward(h).inputs[1]) @ following.right
    other = following.input_noise(u).square()
    weights = other[:, None] / variance
    if of_themselves:
        weights = weights.masked_fill(torch.eye(len(h), dtype=torch.bool, device=h.device), 0.0)
    return Known(c_dual @ affine.free, c_dual @ affine.fixed, weights, other)
