"""Peeling: find images, take them out of the spans, go on in the smaller ones."""

import time
from collections.abc import Sequence

import torch
from torch import Tensor

from gradleak.attacks.exact.evidence import Evidence, examine
from gradleak.attacks.exact.forward import Affine, Forward
from gradleak.attacks.exact.levenberg import minimise
from gradleak.attacks.exact.network import Layer, Network, augmented
from gradleak.attacks.exact.spans import Span


def smoothed(network: Network, h: Tensor, width: float) -> Network:
    """Blur kinks"""
    nodes, weights = HERMITE
    layers = []
    a_in = h
    for layer in network.layers[:-1]:
        a = a_in @ layer.weight.T + layer.bias
        eps = width * float(a.std())

        def f(x, g=layer.activation, eps=eps):
            return sum(w * g(x + eps * n) for n, w in zip(nodes, weights))

        a_in = layer.activation(a)
        layers.append(Layer(layer.weight, layer.bias, f))
    return Network((*layers, network.layers[-1]))


def _hermite(n):
    import numpy as np

    x, w = np.polynomial.hermite_e.hermegauss(n)
    return list(x), list(w / w.sum())


HERMITE = _hermite(9)


def remaining(span: Span, errors: Tensor | None) -> Tensor:
    """Row space [in + 1, r - k] without the images whose errors [k, out] are known."""
    if errors is None or not len(errors):
        return span.right, span.left * span.values
    C = torch.diag(span.values)
    delta = (errors @ span.left).T
    delta = delta / delta.norm(dim=0)
    Q, _ = torch.linalg.qr(delta)
    C = C - Q @ (Q.T @ C)
    u, s, vh = torch.linalg.svd(C)
    left = span.rank - len(errors)
    return span.right @ vh[:left].T, (span.left @ u[:, :left]) * s[:left]


def invert(network: Network, spans: Sequence[Span], *, seconds: float = 60, per_round: int = 128, verbose=False):
    started = time.perf_counter()
    accepted: Evidence | None = None
    generator = torch.Generator().manual_seed(0)
    r = spans[0].rank
    fails = 0
    while True:
        k = 0 if accepted is None else len(accepted.labels)
        if k >= r or time.perf_counter() - started > seconds or fails > 8:
            break
        use = [i for i in (1,)]
        right1, rows = remaining(spans[0], accepted and accepted.errors[0])
        right2, _ = remaining(spans[1], accepted and accepted.errors[1])
        affine = Affine(right1)
        if right1.shape[1] == 1:
            s = torch.zeros(1, 0, dtype=torch.float64)
            h = affine.inputs(s)
            cost = torch.zeros(1)
        else:
            problem = Forward(network, affine, [right2])
            s0 = affine.coordinates(rows)
            s0 = s0[torch.isfinite(s0).all(1)]
            s0 = s0[s0.norm(dim=1).argsort()]
            lo = fails * per_round
            if lo < len(s0):
                s = s0[lo : lo + per_round]
            else:
                sc = s0 / s0.norm(dim=1, keepdim=True) * s0.norm(dim=1)[: len(s0) // 2].median()
                i = torch.randint(len(sc), (per_round, 2), generator=generator)
                w = torch.rand(per_round, 1, generator=generator, dtype=torch.float64) * 2 - 0.5
                s = sc[i[:, 0]] * w + sc[i[:, 1]] * (1 - w)
            blurred = Forward(smoothed(network, affine.inputs(s0[:64]), 0.35), affine, [right2])
            s, _ = minimise(blurred, s, steps=12)
            s, cost = minimise(problem, s, steps=15, tolerance=1e-18)
            h = affine.inputs(s)
        scale = augmented(network.forward(h).inputs[1]).norm(dim=1)
        good = (cost.sqrt() / scale) < 1e-2
        h = h[good]
        if len(h):
            h = distinct(h, 1e-2)
            full = Affine(spans[0].right)
            s = full.coordinates(augmented(h) @ spans[0].right)
            s, cost = minimise(Forward(network, full, [spans[1].right]), s, steps=10, tolerance=0)
            h = distinct(full.inputs(s), 1e-4)
            e = examine(network, spans, h)
            ok = (e.forward < 6) & (e.backward < 6) & (e.second > 5)
            if verbose:
                print(f"{time.perf_counter()-started:.1f}s k={k}/{r} starts {len(good)} candidates {len(h)} ok {int(ok.sum())} fwd {e.forward.median():.2f} back {e.backward.median():.2f} second {e.second.median():.1f} err {e.error.median():.1e}")
            e = e.select(ok.nonzero()[:, 0])
            e = e.select(e.norms.argsort())
            keep = []
            have = [] if accepted is None else [accepted.errors[0]]
            for n in range(len(e.labels)):
                d = e.errors[0][n : n + 1]
                others = torch.cat([*have, *[e.errors[0][m : m + 1] for m in keep]]) if have or keep else None
                if others is not None:
                    cos = (others @ d[0]).abs() / others.norm(dim=1) / d.norm()
                    if float(cos.max()) > 1 - 1e-6:
                        continue
                keep.append(n)
            e = e.select(torch.tensor(keep, dtype=torch.long))
            new = len(e.labels)
            if k + new > r:
                e = e.select(torch.arange(r - k))
                new = r - k
        else:
            new = 0
            if verbose:
                print(f"{time.perf_counter()-started:.1f}s k={k}/{r} none")
        if new:
            accepted = e if accepted is None else Evidence.join([accepted, e])
            fails = 0
        else:
            fails += 1
            if right1.shape[1] == 1:
                break
    return accepted


def distinct(h: Tensor, tolerance: float) -> Tensor:
    keep = []
    scale = h.norm(dim=1)
    distances = torch.cdist(h, h)
    for n in range(len(h)):
        if not keep or float((distances[n, keep] / scale[n]).min()) > tolerance:
            keep.append(n)
    return h[keep]
