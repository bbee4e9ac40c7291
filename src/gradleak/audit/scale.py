"""The factor between an update and the mean gradient, and the batch size: what the gradient itself says of them."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from gradleak.attacks.exact.inversion import Inversion
from gradleak.attacks.labels.embeddings import recover_embeddings
from gradleak.victims.head import Head

SHARP, ROUGH = 0.02, 0.1
"""Relative deviation up to which a factor counts as a known one: found by exact inversion, or by the last layer."""

_WHOLE = 0.2
"""Deviation up to which a count is whole."""

_SMALLEST_LOSS_SCALE, _LARGEST_LOSS_SCALE = 3, 32
"""Exponents of loss scales, powers of two."""


@dataclass(frozen=True)
class Scale:
    """What the gradient is times.

    Attributes:
        factor: the update's gradient over the mean gradient; None if nothing tells.
        source: what tells it.
        meaning: a sentence.
        batch_size: B, told or found; None if neither.
    """

    factor: float | None
    source: Literal["exact inversion", "last layer", "assumed", "unknown"]
    meaning: str
    batch_size: int | None


def scale_of(
    inversion: Inversion | None,
    head: Head,
    gradients: dict[str, Tensor],
    *,
    batch_size: int | None,
    scale_is_rate: bool,
) -> Scale:
    """Find the factor: by pairings of the images that exact inversion found, else by the last layer, else assume 1.

    Pairings give B over the factor (:class:`gradleak.attacks.exact.pairing.Multiplicities`); if all images were found,
    their number is B.

    Args:
        inversion: of the gradient, or None.
        head: the last layer.
        gradients: what was sent.
        batch_size: B if it was told.
        scale_is_rate: whether the factor contains a learning rate that is not known.
    """
    certain = None if inversion is None else _by_pairings(inversion, batch_size)
    if certain is not None:
        factor, B = certain
        if factor is None and not scale_is_rate and inversion is not None:
            whole = round(inversion.batch_size)
            if abs(inversion.batch_size - whole) <= SHARP * whole and whole > 1:
                meaning = f"taken for a mean; then exact inversion tells that B = {whole}"
                return Scale(1.0, "assumed", meaning, whole)
        if factor is not None:
            factor, meaning = _named(factor, B, scale_is_rate, SHARP)
            if batch_size is not None and batch_size != B:
                meaning += f"; it holds {B} images, not the {batch_size} that were told"
            return Scale(factor, "exact inversion", meaning, B)
    factor = by_last_layer(head, gradients, batch_size)
    if factor is not None:
        factor, meaning = _named(factor, batch_size, scale_is_rate, ROUGH)
        return Scale(factor, "last layer", meaning, batch_size)
    if scale_is_rate:
        return Scale(None, "unknown", "not known without the learning rate (--lr): counts need it", batch_size)
    return Scale(1.0, "assumed", "taken for a mean: nothing in the gradient tells its scale", batch_size)


def _by_pairings(inversion: Inversion, batch_size: int | None) -> tuple[float | None, int | None] | None:
    """Return factor and batch size as far as the certified images tell; None if there is none."""
    if not bool(inversion.labels_certified.any()) or not inversion.batch_size:
        return None
    if bool(inversion.labels_certified.all()) and len(inversion.labels) == inversion.rank:
        images = int(inversion.multiplicity.sum())
        B = batch_size if batch_size is not None and batch_size % images == 0 else images
        return images / inversion.batch_size, B
    return (None if batch_size is None else batch_size / inversion.batch_size), batch_size


def _named(factor: float, B: int | None, scale_is_rate: bool, tolerance: float) -> tuple[float, str]:
    """Return the factor, rounded to what it most likely is, and what that is."""
    if scale_is_rate:
        return factor, f"{factor:.3g}: learning rate times steps, as far as the client averages over its batch"
    known = {1.0: "1: a mean over the batch"}
    if B is not None and B > 1:
        known |= {float(B): f"{B}: a sum over the batch of {B}", 1 / B: f"1/{B}: divided by the batch size twice"}
    for value, meaning in known.items():
        if abs(factor / value - 1) <= tolerance:
            return value, meaning
    for value, of in ((1.0, "a mean"), (float(B or 1), "a sum over the batch")):
        power = round(math.log2(factor / value))
        if _SMALLEST_LOSS_SCALE <= power <= _LARGEST_LOSS_SCALE and abs(factor / (value * 2.0**power) - 1) <= tolerance:
            return value * 2.0**power, f"{of} times 2^{power}, as a loss scale of mixed precision that was left in"
    return factor, f"{factor:.4g}: neither a mean nor a sum; as after clipping of the norm, or a short accumulation"


def by_last_layer(head: Head, gradients: dict[str, Tensor], batch_size: int | None) -> float | None:
    """Estimate the factor of the gradient from its last layer, or return None where it does not tell.

    iLRG's counts over B (Ma et al., ICLR 2023; :func:`gradleak.attacks.labels.ilrg.solve_counts`) are x = x_0 + t x_1
    with t one over the factor, since its embeddings are quotients, in which a factor cancels. Classes that are not in
    the batch must come out as 0, so each gives the same t; those of the batch give larger ones. So the t on which most
    classes agree, among the smallest, is the right one, if these are absent and not just equally rare: half of all
    classes must agree, or the counts come out whole.

    Args:
        head: the last layer.
        gradients: ``head.weight`` [C, d] and ``head.bias`` [C], if they were sent.
        batch_size: B, or None.
    """
    if head.bias is None or not {"head.weight", "head.bias"} <= gradients.keys():
        return None
    bias = gradients["head.bias"].detach().double().cpu()
    C = len(bias)
    embeddings = recover_embeddings(gradients["head.weight"].detach().cpu(), bias)
    logits = torch.addmm(head.bias.detach().double().cpu(), embeddings, head.weight.detach().double().cpu().T)
    matrix = torch.softmax(logits, dim=1).T.numpy() - np.eye(C) + 1 / C
    try:
        constant, slope = np.linalg.solve(matrix, np.stack([np.full(C, 1 / C), (bias - bias.mean()).numpy()], axis=1)).T
    except np.linalg.LinAlgError:
        return None
    falling = (slope < 0) & (constant > 0)
    zeros = np.sort(constant[falling] / -slope[falling])
    if len(zeros) < 3:
        return None
    agreeing = np.searchsorted(zeros, zeros * (1 + ROUGH), side="right") - np.arange(len(zeros))
    best = int(agreeing.argmax())
    # Beyond the right value absent classes would have negative counts, so little may lie below it.
    if agreeing[best] < 3 or best > len(zeros) // 10:
        return None
    t = float(np.median(zeros[best : best + agreeing[best]]))
    counts = (batch_size or 0) * (constant + t * slope)
    whole = batch_size is not None and float(np.abs(counts - counts.round()).max()) < _WHOLE
    return 1 / t if whole or agreeing[best] >= C / 2 else None
