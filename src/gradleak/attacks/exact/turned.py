"""Errors whose direction the column spaces tell better than the input does.

With the slopes of its activations, the error of every layer is linear in that of the logits: delta_l = M_l (p - y).
What lies outside the column spaces must vanish, which fixes p - y up to its length: better than the logits of an input
that is known to a few digits only, and as the client has rounded it. Of an image that a trained network is sure of, the
client's p - y is off by one part in a thousand; its direction in the gradient is known to one in a million.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from gradleak.attacks.exact.backward import outside
from gradleak.attacks.exact.network import Network, Pass
from gradleak.attacks.exact.spans import Span

_WORTH = 1e-6
"""Relative error of delta, the client's rounding included, from which a better direction is sought."""

_SPREAD = 3.0
"""Standard deviation of an entry of p - y, over the relative error of delta."""

_FITS = 3.0
"""Root mean square of what remains outside the column spaces, over noise, up to which a direction is taken."""

_SOUND = 1e12
"""Information of the column spaces over that of the input, beyond which float64 cannot tell what both leave open."""

_MOST = 128
"""Entries of p - y that are unknown; with more classes, those that deviate most."""

_CHUNK = 2**25
"""Numbers of the maps M of the images that are held at once."""


def turned_errors(
    network: Network,
    spans: Sequence[Span | None],
    passed: Pass,
    labels: Tensor,
    errors: Sequence[Tensor],
    of_errors: Tensor,
    own: Tensor,
) -> tuple[tuple[Tensor, ...], Tensor]:
    """Return errors of every layer, [k, out], and the predicted relative error of their directions, worst layer, [k].

    Args:
        network: the layers.
        spans: of each layer's gradient; None for one whose column space tells nothing of errors.
        passed: k inputs on their way.
        labels: [k], theirs.
        errors: theirs, of every layer. Those with a unit that was taken from the column space stay as they are: the
            slopes do not lead to them.
        of_errors: [k] predicted relative error of these.
        own: [k] relative rounding error of the client's errors.
    """
    better, worst = [delta.clone() for delta in errors], of_errors + own
    plain = network.errors(passed, labels)
    same = torch.stack([(a == b).all(1) for a, b in zip(plain, errors, strict=True)]).all(0)
    todo = torch.nonzero(same & (worst > _WORTH) & worst.isfinite()).flatten()
    unknowns = min(network.num_classes, _MOST)
    each = max(1, _CHUNK // (unknowns * max(len(layer.bias) for layer in network.layers)))
    for part in todo.split(each):
        rho = errors[-1][part]
        deviation = torch.sqrt(
            (_SPREAD * of_errors[part, None] * rho).square() + (own[part] * rho.norm(dim=1)).square()[:, None]
        )
        largest = deviation.topk(unknowns, dim=1)
        maps = _maps(network, passed.of(part), largest.values, largest.indices)
        rest = torch.zeros_like(own[part])  # relative error that the other entries leave
        if unknowns < network.num_classes:
            others = rho.scatter(1, largest.indices, 0.0).norm(dim=1) / rho.norm(dim=1)
            # They are probabilities alone, which the client rounds by their own size and not by that of 1.
            relative = network.rounding * 2 * (1 + passed.logits[part].abs().amax(1))
            rest = others * torch.hypot(_SPREAD * of_errors[part], relative)
        identity = torch.eye(unknowns, dtype=rho.dtype, device=rho.device)
        H = identity.expand(len(part), -1, -1)
        g = rho.new_zeros(len(part), unknowns)
        left_over, equations = rho.new_zeros(len(part)), 0
        for span, M, delta in zip(spans, maps, errors, strict=True):
            if span is None:
                continue
            rounded = torch.hypot(rest, torch.full_like(rest, 2 * network.rounding))
            rounded = rounded * delta[part].norm(dim=1) / delta.shape[1] ** 0.5
            noise = torch.hypot(span.error_noise(delta[part] @ span.left), rounded)[:, None]
            B = outside(M.mT, span.left).mT / noise[..., None]
            r = outside(delta[part], span.left) / noise
            H = H + B.mT @ B
            g = g + (B.mT @ r[..., None])[..., 0]
            left_over = left_over + r.square().sum(1)
            equations += delta.shape[1] - span.rank
        factor, failed = torch.linalg.cholesky_ex(H)
        sound = (failed == 0) & (H.diagonal(dim1=1, dim2=2).amax(1) < _SOUND)
        factor = torch.where(sound[:, None, None], factor, identity)
        x = torch.cholesky_solve(-g[..., None], factor)
        covariance = torch.cholesky_inverse(factor)
        left_over = left_over + (g * x[..., 0]).sum(1)  # sum of squares at the minimum, prior included
        fits = sound & (left_over < _FITS**2 * equations)
        share = rho.new_zeros(len(part))
        turned = []
        for M, delta in zip(maps, errors, strict=True):
            moved = delta[part] + (M @ x)[..., 0]
            size = moved.norm(dim=1)
            unit = moved / size[:, None].clamp(min=1e-300)
            across = M - unit[..., None] * (unit[:, None] @ M)
            square = (across.mT @ across * covariance).sum((1, 2)).clamp(min=0)
            relative = square.sqrt() / size.clamp(min=1e-300)
            relative = torch.hypot(relative, rest)
            share = torch.maximum(share, torch.hypot(relative, torch.full_like(relative, 2 * network.rounding)))
            # Its length stays that of the input: the column spaces say nothing of it.
            turned.append(unit * (delta[part] * unit).sum(1, keepdim=True))
        gains = fits & (share < worst[part])
        for all_, delta, new in zip(better, errors, turned, strict=True):
            all_[part] = torch.where(gains[:, None], new, delta[part])
        worst[part] = torch.where(gains, share, worst[part])
    return tuple(better), worst


def _maps(network: Network, passed: Pass, deviation: Tensor, entries: Tensor) -> list[Tensor]:
    """Return M of every layer, [k, out, n]: it maps n entries [k, n] of p - y, over their deviations, to its error."""
    M = deviation.new_zeros(len(deviation), network.num_classes, deviation.shape[1])
    M.scatter_(1, entries[:, None], deviation[:, None])
    maps = [M]
    for layer, slope in zip(reversed(network.layers[1:]), reversed(passed.slopes), strict=True):
        M = slope[..., None] * (layer.weight.T @ M)
        maps.append(M)
    return maps[::-1]
