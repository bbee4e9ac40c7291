"""Which label the errors of a candidate speak for."""

from collections.abc import Sequence

import torch
from torch import Tensor

from gradleak.attacks.exact.backward import outside
from gradleak.attacks.exact.kinks import completed, open_units
from gradleak.attacks.exact.network import Network, Pass
from gradleak.attacks.exact.spans import Span

_MANY = 32
"""Labels that are looked at; with more classes, those that fit the head's column space best."""

APART = 20.0
"""Margin from which the direction of the errors alone tells a label, and that a certificate needs."""

_BELOW = 3.0
"""How far below 0 a pairing refutes a label, over what noise does to it."""

_CHUNK = 2**25
"""Numbers of the errors of all labels that are computed at once."""


def fitting_labels(
    network: Network,
    spans: Sequence[Span],
    columns: Sequence[int],
    passed: Pass,
    t: Tensor,
    spread: Sequence[Tensor],
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the labels [k] whose errors fit best, the margin to the second best [k], and whether signs made it [k].

    A label fits if its errors lie in the column spaces; those of the last two layers are enough to tell labels apart.
    But of an image that the network is sure of, p - e_y points the same way for its label and for the second most
    likely class, and likewise with two classes: they differ in sign and size. The true label pairs above 0 with the
    input (:mod:`gradleak.attacks.exact.pairing`), so one that pairs below 0, beyond noise, is none. And where a unit is
    at its kink, the true label's errors may be as wrong as other labels' (:mod:`gradleak.attacks.exact.kinks`).

    Args:
        network: the layers.
        spans: of the gradient of each.
        columns: the layers whose column spaces tell something.
        passed: k candidates on their way.
        t: [k, r] their coordinates in the first layer's row space.
        spread: standard deviation of the outputs of every layer but the last, [k, out].

    Returns:
        Labels; how many times farther than theirs the second-best label's errors are outside, over their length:
        infinite if no other label is left, 0 if none is; and whether that rests on the sign of the gradient.
    """
    lefts = [span.left if i in columns else None for i, span in enumerate(spans)]
    labels, shares, beyond = label_shares(network, lefts, passed)
    best, margin = _best(shares, beyond)
    if len(lefts) > 1 and lefts[-2] is not None:
        open_ = open_units(network.layers[-2], passed.outputs[-1], spread[-1])
        close = torch.nonzero((margin < APART) & open_.any(1)).flatten()
        if len(close):
            shares[close] = label_shares(network, lefts, passed.of(close), open_[close])[1]
            best[close], margin[close] = _best(shares[close], beyond[close])
    by_sign = margin < APART
    close = torch.nonzero(by_sign).flatten()
    if len(close):
        refuted = _refuted(network, spans[0], passed.of(close), labels[close], t[close])
        shares[close] = shares[close].masked_fill(refuted, torch.inf)
        best[close], margin[close] = _best(shares[close], beyond[close])
    return labels.gather(1, best[:, None])[:, 0], margin, by_sign


def _best(shares: Tensor, beyond: Tensor) -> tuple[Tensor, Tensor]:
    """Return the position of the smallest share, and how many times larger the next is; 0 if none is finite."""
    best = shares.argmin(1)
    first = shares.gather(1, best[:, None])[:, 0]
    second = torch.minimum(shares.scatter(1, best[:, None], torch.inf).amin(1), beyond)
    return best, torch.where(first.isfinite(), second / first.clamp(min=1e-300), 0.0)


def label_shares(
    network: Network, lefts: Sequence[Tensor | None], passed: Pass, open_: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Return how far the errors of labels are outside the column spaces of the last two layers, over their length.

    Args:
        network: the layers.
        lefts: column spaces U [out, r] of the layers; None for one that tells nothing.
        passed: k inputs on their way.
        open_: [k, out] bool, units of the second-last layer whose errors are not trusted.

    Returns:
        The labels [k, n] that were looked at, their shares [k, n], and a lower bound of the shares of all others [k],
        which is infinite if there are no others.
    """
    k, C = passed.logits.shape
    below, left = lefts[-2] if len(lefts) > 1 else None, lefts[-1]
    p, head = passed.probabilities, network.layers[-1].weight
    labels = torch.arange(C, device=p.device).expand(k, -1)
    beyond = p.new_full((k,), torch.inf)
    if _MANY < C and left is not None:
        outer = _shares_outside_head(p, left).topk(_MANY + 1, dim=1, largest=False)
        labels, beyond = outer.indices[:, :-1], outer.values[:, -1]
    worst = torch.zeros(labels.shape, dtype=p.dtype, device=p.device)
    each = max(1, _CHUNK // (labels.shape[1] * max(C, head.shape[1])))
    for part in torch.arange(k, device=p.device).split(each):
        delta = p[part, None].expand(-1, labels.shape[1], -1).clone()
        delta.scatter_add_(2, labels[part, :, None], delta.new_full((len(part), labels.shape[1], 1), -1.0))
        if left is not None:
            worst[part] = torch.maximum(worst[part], _share_outside(delta, left))
        if below is not None:
            before = passed.slopes[-1][part, None] * (delta @ head)
            if open_ is not None:
                before = torch.stack([completed(*each, below) for each in zip(before, open_[part], strict=True)])
            worst[part] = torch.maximum(worst[part], _share_outside(before, below))
    return labels, worst, beyond


def _shares_outside_head(p: Tensor, left: Tensor) -> Tensor:
    """Return which share of p - e_y lies outside a column space, [k, C]: in closed form, off by up to 1e-8.

    For the most likely class, whose error may be tiny, it would cancel: that one is computed directly.
    """
    q = outside(p, left)
    outer = q.square().sum(1, keepdim=True) - 2 * q + 1 - left.square().sum(1)
    length = p.square().sum(1, keepdim=True) - 2 * p + 1
    shares = (outer.clamp(min=0) / length.clamp(min=1e-300)).sqrt()
    likely = p.argmax(1, keepdim=True)
    others = p.scatter(1, likely, 0.0)
    delta = others.scatter(1, likely, -others.sum(1, keepdim=True))
    return shares.scatter(1, likely, _share_outside(delta, left)[:, None])


def _refuted(network: Network, span: Span, passed: Pass, labels: Tensor, t: Tensor) -> Tensor:
    """Return whether the errors of labels [k, n] pair below 0 with the inputs, beyond noise, [k, n] bool."""
    t_dual = (t / span.values).norm(dim=1)
    spread = span.rank**0.5
    moved = span.input_noise(t) * spread + span.noise * t_dual
    result = torch.zeros_like(labels, dtype=torch.bool)
    for number, label in enumerate(labels.T):
        c = network.errors(passed, label)[0] @ span.left
        c_dual = c / span.values
        noise = c_dual.norm(dim=1) * moved + span.error_noise(c) * spread * t_dual
        result[:, number] = (c_dual * t).sum(1) < -_BELOW * noise
    return result


def _share_outside(delta: Tensor, left: Tensor) -> Tensor:
    return outside(delta, left).norm(dim=-1) / delta.norm(dim=-1).clamp(min=1e-300)
