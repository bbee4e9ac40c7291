"""Equations that images found already give for the others: they pair to 0 (:mod:`gradleak.attacks.exact.pairing`).

A ReLU network needs them on trained victims: an input that activates fewer units than there are unknowns is not fixed
by the next layer alone, but by the next layer and the images found before.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from gradleak.attacks.exact.affine import Affine
from gradleak.attacks.exact.evidence import Evidence, spreads
from gradleak.attacks.exact.known import Known
from gradleak.attacks.exact.network import Network, augmented
from gradleak.attacks.exact.spans import Span

_LEAST = 1e-3
"""Least deviation of an equation over what noise of the gradient does to it, which keeps the equations well-scaled."""

_PULL = 1e-1
"""How far an input is pulled, over what noise disturbs it."""


def equations(
    network: Network, spans: Sequence[Span], affine: Affine, found: Evidence, h: Tensor, *, of_themselves: bool
) -> Known:
    """Return the equations that images give for candidates.

    They hold for an input as the noisy gradient shows it, V t with t = B S U^T d: to first order, noise E moves that by
    B E^T d, and the pairing of what is moved is 0 still. So only the errors of the images count here, and the noise of
    the input itself comes on top of what the equations leave open.

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
    shaken = found.of_directions * c.norm(dim=1)
    moved = span.input_noise(t)[:, None] * c_dual.norm(dim=1)
    second = (c_dual * span.edge / span.values).norm(dim=1) / c_dual.norm(dim=1)
    variance = (shaken * strength[:, None]).square() + (second.clamp(min=_LEAST) * moved).square()
    passed, following = network.forward(h), spans[1]
    _, spread = spreads(network, passed, span.input_noise(t))
    other = following.input_noise(augmented(passed.inputs[1]) @ following.right).square()
    other = other + spread[1].square().mean(1)
    weights = other[:, None] / variance
    if of_themselves:
        weights = weights.masked_fill(torch.eye(len(h), dtype=torch.bool, device=h.device), 0.0)
    return Known(c_dual @ affine.free, c_dual @ affine.fixed, weights, other)


def pull(span: Span, affine: Affine, m: int) -> Known:
    """Return a weak pull of m candidates towards inputs that the noise of the gradient disturbs little.

    Where equations leave an input open, it decides: an input far out along directions that are hardly above the noise
    cannot be told from others, nor can its errors. It only leads a search, and is no evidence.

    Args:
        span: of the first layer's whole gradient.
        affine: where the candidates lie.
        m: their number.
    """
    scale = _PULL * span.noise * math.sqrt(len(span.right) - 1) / span.values
    last = torch.cat([affine.origin, affine.origin.new_ones(1)])
    offsets = scale * (last @ span.right)
    rows = scale[:, None] * (span.right[:-1].T @ affine.basis)
    return Known(rows, offsets, offsets.new_ones(m, len(offsets)), offsets.new_ones(m))
