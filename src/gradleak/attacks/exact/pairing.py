"""Whether the images that were accepted are parts of one gradient, and how often each is in the batch.

Subtracting delta h^T / (c^T S^-1 t) lowers the rank of G = U S V^T by one (c = U^T delta, t = V^T h; Wedderburn 1934).
For several images at once it does if their pairings c_n^T S^-1 t_m vanish for n != m: then the images together
reproduce their part of the gradient, and all of it if their number is the rank. An image that is m times in a batch of
B pairs with itself to B / m.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gradleak.attacks.exact.evidence import Evidence, own_rounding
from gradleak.attacks.exact.network import Network, augmented
from gradleak.attacks.exact.spans import Span

_LIMIT = 10.0
"""Deviation over predicted deviation that counts as a contradiction."""

_SURE = 0.05
"""Relative noise of a pairing up to which it tells how often an image is in the batch: once and twice are ten times as
far apart."""

_WHOLE = 0.1
"""Distance to a whole number up to which a ratio of pairings counts as one: at 0.5 every ratio would."""


@dataclass(frozen=True)
class Pairings:
    """Pairings of k images in one layer.

    Attributes:
        values: [k, k], row n error, column m input.
        noise: [k, k], what noise would add to each.
        fixed: [k] bool, whose inputs are known; the pairings of the others with themselves say nothing.
    """

    values: Tensor
    noise: Tensor
    fixed: Tensor

    @property
    def own(self) -> Tensor:
        """Each image with itself, [k]."""
        return self.values.diagonal()

    @property
    def own_noise(self) -> Tensor:
        """Relative noise of it, [k]."""
        return self.noise.diagonal() / self.own.abs().clamp(min=1e-300)


def pairings(network: Network, spans: Sequence[Span], found: Evidence) -> Pairings:
    """Return the pairings of accepted images, from the layer in which noise disturbs each least."""
    passed = network.forward(found.inputs)
    own = own_rounding(network, passed, found.errors)
    best: Pairings | None = None
    for span, h, delta in zip(spans, passed.inputs, found.errors, strict=True):
        if not span.holds_all_of(spans[0]):
            continue
        t, c = augmented(h) @ span.right, delta @ span.left
        t_dual, c_dual = t / span.values, c / span.values
        moved = found.error * h.norm(dim=1) + span.input_noise(t) * span.rank**0.5
        # A wrong length of an error scales its pairings, of which those with others are 0.
        shaken = found.of_directions * delta.norm(dim=1) + span.error_noise(c) * span.rank**0.5
        noise = (
            c_dual.norm(dim=1)[:, None] * moved
            + shaken[:, None] * t_dual.norm(dim=1)
            + span.noise * c_dual.norm(dim=1)[:, None] * t_dual.norm(dim=1)
        )
        values = c_dual @ t.T
        noise = noise + torch.diag((found.of_errors + own) * values.diagonal().abs())
        these = Pairings(values, noise, found.error < 1)
        if best is None:
            best = these
            continue
        closer = these.noise < best.noise
        best = Pairings(
            torch.where(closer, these.values, best.values), torch.where(closer, these.noise, best.noise), best.fixed
        )
    assert best is not None
    return best


def contradicted(pairs: Pairings) -> Tensor:
    """Return which images [k] bool to withdraw, so that no two of the others contradict one another.

    The one with most contradictions goes first.
    """
    k = len(pairs.own)
    off = pairs.values - torch.diag(pairs.own)
    wrong = off.abs() > _LIMIT * pairs.noise + 1e-9
    wrong |= torch.diag((pairs.own <= 0) & pairs.fixed)
    out = torch.zeros(k, dtype=torch.bool, device=off.device)
    while True:
        open_ = wrong & ~out[:, None] & ~out[None]
        count = open_.sum(0) + open_.sum(1)
        if not int(count.sum()):
            return out
        out[int(count.argmax())] = True


@dataclass(frozen=True)
class Multiplicities:
    """How often images are in the batch.

    Attributes:
        certain: [k] int64, at least so often: a factor that all share may be the scale of the gradient, so it is left
            out.
        most: [k] int64, at most so often.
        others: [k] bool, whether noise does not explain how far the ratio is from a whole number: another image that is
            nearly alike then has a small part in this one.
        batch_size: the batch size over the scale of the gradient, if each is there ``certain`` times: B for a mean, 1
            for a sum.
        told: [k] bool, whether the pairing tells.
        alone: whether one image alone speaks for the scale of the gradient, and no batch size that was told.
    """

    certain: Tensor
    most: Tensor
    others: Tensor
    batch_size: float
    told: Tensor
    alone: bool


def multiplicities(pairs: Pairings, batch_size: int | None) -> Multiplicities:
    """Read off the pairings how often each image is in the batch.

    Args:
        pairs: of the accepted images.
        batch_size: B, or None.
    """
    own = pairs.own
    sure = (pairs.own_noise < _SURE) & (own > 0) & pairs.fixed
    if not bool(sure.any()):
        ones = torch.ones_like(own, dtype=torch.int64)
        return Multiplicities(ones, ones, ~sure, float(batch_size or 0), sure, alone=True)
    tolerance = 0.02 + 5 * pairs.own_noise
    bases, noise = own[sure], pairs.own_noise[sure]
    if batch_size is not None:
        bases, noise = torch.cat([own.new_tensor([batch_size]), bases]), torch.cat([noise.new_zeros(1), noise])
    times = bases[:, None] / own
    off = (times - times.round()).abs()
    whole = (times.round() >= 1) & (off <= torch.minimum(tolerance * times, tolerance.clamp(min=_WHOLE)))
    explained = off <= 5 * (pairs.own_noise + noise[:, None]) * times
    best = _scale(times, whole, explained, sure, noise, batch_size)
    most, told = times[best].round().clamp(min=1).long(), sure & whole[best]
    base, others = float(bases[best]), ~explained[best]
    alone = int(told.sum()) < 2 and (batch_size is None or best != 0)
    is_number = batch_size is None and abs(base - round(base)) < min(5 * float(noise[best]) * base, _WHOLE)
    if alone and not is_number:
        others = torch.ones_like(others)  # a scale that one image alone speaks for may be that of a mixture
    common = math.gcd(*most[told].tolist()) or 1
    return Multiplicities(torch.where(told, most // common, most), most, others, base / common, told, alone=alone)


def _scale(times: Tensor, whole: Tensor, explained: Tensor, sure: Tensor, noise: Tensor, batch_size: int | None) -> int:
    """Return the row of the scale that the gradient has: the one that makes most images whole, known best of several.

    The batch size that was told, which is the first row, comes first if it fits all but outliers and has room for all
    images; unless noise does not explain how it fits, but explains another scale, as after clipping a norm by a little.

    Args:
        times: [m, k] how often each image would be in the batch.
        whole: [m, k] bool, whether that is a whole number.
        explained: [m, k] bool, whether noise explains how far it is from one.
        sure: [k] bool, the images that count.
        noise: [m] relative noise of a scale.
        batch_size: B, or None.
    """
    fits, close = (whole & sure).sum(1), (whole & explained & sure).sum(1)
    if batch_size is not None:
        there, count = whole[0] & sure, int(sure.sum())
        if int(times[0].round()[there].sum()) + int((~there).sum()) > batch_size:
            fits[0] = -1
        elif int(fits[0]) >= 0.9 * count:
            rescaled = 2 * int(close[0]) < count and int(close.max()) >= 0.9 * count
            return int((close - noise).argmax()) if rescaled else 0
    return int((fits - noise).argmax())
