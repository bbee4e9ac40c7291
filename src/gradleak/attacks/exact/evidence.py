"""What speaks for a candidate input: how far it is from its spans, and how far noise alone would put it there."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gradleak.attacks.exact.network import Network, augmented
from gradleak.attacks.exact.spans import Span

_UNIT = 2.0**-24
"""Relative rounding error of the client's own arithmetic."""


@dataclass(frozen=True)
class Evidence:
    """Tests of k candidates.

    Attributes:
        inputs: h [k, in].
        labels: [k] int64, the label whose errors lie best in the column spaces.
        forward: [k] length of the later layers' inputs outside their row spaces, over what noise would leave.
        backward: [k] length of the errors outside their column spaces, over what noise would leave, worst layer.
        second: [k] the same of the second-best label, in its most telling layer.
        error: [k] predicted relative error of h: root mean square over noise.
        coordinates: [k, r] U^T delta, and [k, r] V^T h, of the first layer.
        errors: dLoss/da of every layer [k, out].
    """

    inputs: Tensor
    labels: Tensor
    forward: Tensor
    backward: Tensor
    second: Tensor
    error: Tensor
    norms: Tensor
    errors: tuple[Tensor, ...]

    def select(self, index: Tensor) -> "Evidence":
        return Evidence(
            self.inputs[index],
            self.labels[index],
            self.forward[index],
            self.backward[index],
            self.second[index],
            self.error[index],
            self.norms[index],
            tuple(e[index] for e in self.errors),
        )

    @staticmethod
    def join(parts: Sequence["Evidence"]) -> "Evidence":
        return Evidence(
            *(torch.cat([getattr(p, name) for p in parts]) for name in ("inputs", "labels", "forward", "backward", "second", "error", "norms")),
            tuple(torch.cat([p.errors[i] for p in parts]) for i in range(len(parts[0].errors))),
        )


def examine(network: Network, spans: Sequence[Span], h: Tensor, *, rounded: float = _UNIT) -> Evidence:
    """Test candidates [k, in] of the first layer's input against the spans of the whole gradient."""
    passed = network.forward(h)
    k, first = len(h), spans[0]
    bars = [augmented(x) for x in passed.inputs]
    t = bars[0] @ first.right
    tau = first.input_noise(t)  # of an entry of h
    # How far the noise of h moves what follows, and the noise of the row spaces there.
    forward = h.new_zeros(k)
    error = h.new_zeros(k)
    usable = [i for i in range(1, len(spans)) if spans[i].rank >= first.rank and spans[i].rank < len(spans[i].right) - 1]
    J, omega, outside2, expected2 = [], [], h.new_zeros(k), h.new_zeros(k)
    free = torch.linalg.svd(first.right[-1:], full_matrices=True)[2][1:].T  # t with last entry fixed
    T = first.right[:-1] @ free  # [in, q]
    moved = None
    for i in range(1, len(spans)):
        layer = network.layers[i - 1]
        if i == 1:
            spread = tau[:, None] * layer.weight.norm(dim=1)  # sd of a
            T = (layer.weight @ T)[None]
        else:
            spread = torch.sqrt(spread.square() @ layer.weight.T.square())
            T = layer.weight @ T
        a_scale = (passed.inputs[i - 1].square() @ layer.weight.T.square()).sqrt() + layer.bias.abs()
        spread = torch.sqrt(spread.square() + (2 * rounded * a_scale).square())
        spread = passed.slopes[i - 1] * spread
        T = passed.slopes[i - 1][..., None] * T
        if i not in usable:
            continue
        V, z = spans[i].right, bars[i]
        u = z @ V
        out = z - u @ V.T
        width = V.shape[0]
        noise2 = spread.square() + spans[i].input_noise(u).square()[:, None]
        outside2 += out.square().sum(1)
        expected2 += noise2.sum(1) * (width - V.shape[1]) / (width - 1)
        full = torch.cat([T, T.new_zeros(k, 1, T.shape[2])], 1)
        J.append(full - V @ (V.T @ full))
        omega.append(torch.cat([noise2, noise2.mean(1, keepdim=True)], 1))
    Jm, om = torch.cat(J, 1), torch.cat(omega, 1)
    H = Jm.mT @ Jm
    values, vectors = torch.linalg.eigh(H)
    values = values.clamp(min=1e-300)
    inverse = vectors @ (vectors.mT / values[..., None])
    JO = (om.sqrt()[..., None] * Jm) @ inverse
    inside = JO.square().sum((1, 2))
    error = torch.sqrt(inside + tau.square() * (first.right.shape[0] - first.rank)) / h.norm(dim=1)
    forward = torch.sqrt(outside2 / expected2)
    labels, backward, second, errors = _label(network, spans, passed, error, rounded)
    return Evidence(h, labels, forward, backward, second, error, (t / first.values).norm(dim=1), errors)


def _label(network, spans, passed, error, rounded):
    k, C = passed.probabilities.shape
    telling = [i for i, s in enumerate(spans) if s.rank < s.left.shape[0] - 1 and (i + 1 < len(spans) or s.rank < C - 1)]
    ratio = passed.probabilities.new_zeros(k, C)
    tell = passed.probabilities.new_zeros(k, C)
    for y in range(C):
        labels = torch.full((k,), y)
        deltas = network.errors(passed, labels)
        residual = deltas[-1].norm(dim=1)
        # the client's own p - y is rounded
        own = 8 * rounded / residual
        for i in telling:
            delta, s = deltas[i], spans[i]
            c = delta @ s.left
            out = (delta - c @ s.left.T).norm(dim=1)
            size = delta.norm(dim=1)
            noise = torch.sqrt((s.error_noise(c)).square() * (s.left.shape[0] - s.rank) + ((error + own) * size).square())
            value = out / noise
            ratio[:, y] = torch.maximum(ratio[:, y], value)
            tell[:, y] = torch.maximum(tell[:, y], out / size.clamp(min=1e-300))
    order = tell.sort(dim=1)
    labels = order.indices[:, 0]
    rows = torch.arange(k)
    backward = ratio[rows, labels]
    second = order.values[:, 1] / order.values[:, 0].clamp(min=1e-300)
    return labels, backward, second, tuple(network.errors(passed, labels))
