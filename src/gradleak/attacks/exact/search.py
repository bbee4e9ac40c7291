"""Search: starts, and where they lead in what is left of the spans."""

from dataclasses import dataclass

import torch
from torch import Tensor

from gradleak.attacks.exact.affine import Affine
from gradleak.attacks.exact.backward import Backward
from gradleak.attacks.exact.beside import pull
from gradleak.attacks.exact.evidence import Evidence, fixing_rows, looks_forward, telling_columns
from gradleak.attacks.exact.fitting_labels import label_shares
from gradleak.attacks.exact.forward import Forward
from gradleak.attacks.exact.levenberg import minimise_in_parts
from gradleak.attacks.exact.network import Layer, Network, augmented
from gradleak.attacks.exact.smoothing import BLURS, smoothed
from gradleak.attacks.exact.spans import Span
from gradleak.attacks.exact.sparse import behind, rectifies, sparse_inputs
from gradleak.attacks.exact.starts import mixed_starts, row_starts

_STARTS = 128
"""Starts of a round."""

_UNITS = 5
"""Units per unknown that a search looks at; a last look takes all."""

_FAR, _CLOSE = 1e3, 1e-4
"""A search's ends are looked at whose sum of squares is at most this many times the smallest, or this share of the
largest."""


@dataclass(frozen=True)
class Search:
    """A search in one gradient, of which some images may be known.

    Attributes:
        network: the layers.
        spans: of the gradient of each.
    """

    network: Network
    spans: tuple[Span, ...]

    def ways(self) -> tuple[tuple[float, ...] | None, ...]:
        """Return the ways to search: widths of the blur one after the other, or None for the sparse search."""
        if not (looks_forward(self.spans) and self.network.layers[0].has_kinks):
            return ((),)
        return (None, *BLURS) if rectifies(self.network.layers[0]) else BLURS

    def candidates(
        self, found: Evidence | None, way: tuple[float, ...] | None, attempt: int, generator: torch.Generator
    ) -> Tensor:
        """Return inputs [k, in] of a round of starts, as precise as what is left of the spans; they need not be images.

        Args:
            found: images that are taken out of the spans.
            way: one of :meth:`ways`.
            attempt: number of the round since a way last gave an image; later ones begin elsewhere.
            generator: of the starts that are mixtures of others.
        """
        rests = self._rests(found)
        right, rows = rests[0][1], rests[0][2]
        affine = Affine(right)
        if right.shape[1] == 1:
            return affine.inputs(right.new_zeros(1, 0))
        s = row_starts(rows, affine)
        if not len(s):
            return right.new_zeros(0, len(right) - 1)
        count = min(_STARTS, 2 * right.shape[1] + 32)
        chosen = s[attempt * count : (attempt + 1) * count]
        if not len(chosen):
            chosen = mixed_starts(s, count, generator)
        if way is None:
            chosen, cost = self._sparse_search(rests, affine, chosen)
        else:
            chosen, cost = self._search(rests, affine, chosen, s, way)
        fine = cost.isfinite() & chosen.isfinite().all(1)
        if not bool(fine.any()):
            return right.new_zeros(0, len(right) - 1)
        low = torch.maximum(_FAR * cost[fine].min(), _CLOSE * cost[fine].max())
        best = torch.nonzero(fine & (cost <= low)).flatten()
        best = best[cost[best].argsort()]
        return distinct(affine.inputs(chosen[best]), 1e-3)

    def _search(
        self,
        rests: list[tuple[Tensor, Tensor, Tensor]],
        affine: Affine,
        chosen: Tensor,
        usual: Tensor,
        widths: tuple[float, ...],
    ) -> tuple[Tensor, Tensor]:
        """Return where starts [m, q] lead, and their sums of squares; without those that meet on the way."""
        if not looks_forward(self.spans):
            columns = telling_columns(self.spans)
            lefts = [rest[0] if i in columns else None for i, rest in enumerate(rests)]
            labels, shares, _ = label_shares(self.network, lefts, self.network.forward(affine.inputs(chosen)))
            labels = labels.gather(1, shares.argmin(1, keepdim=True))[:, 0]  # that fit each start best
            return minimise_in_parts(Backward(self.network, affine, lefts, labels), chosen, steps=25, tolerance=1e-18)
        rights = [rests[i][1] for i in fixing_rows(self.spans)]
        units = self._units(chosen.shape[1]) if len(rights) == 1 else None
        single = torch.float32
        chosen = chosen.to(single)
        for width in widths:
            blurred = smoothed(self.network, affine.inputs(usual[:64]), width, units)
            first = Forward(blurred, affine, rights, units=units, dtype=single)
            chosen = distinct(minimise_in_parts(first, chosen, steps=12, gain=1e-2)[0], 1e-2)
        problem = Forward(self.network, affine, rights, units=units, dtype=single)
        chosen, cost = minimise_in_parts(problem, chosen, steps=15 if widths else 25, tolerance=1e-9, gain=1e-2)
        return chosen.double(), cost

    def _units(self, unknowns: int) -> Tensor | None:
        """Return the units of the first layer that a search looks at, or None for all."""
        layer, enough = self.network.layers[0], _UNITS * unknowns + 64
        if len(layer.bias) <= enough:
            return None
        return torch.linspace(0, len(layer.bias) - 1, enough, device=layer.bias.device).round().long()

    def _sparse_search(
        self, rests: list[tuple[Tensor, Tensor, Tensor]], affine: Affine, chosen: Tensor
    ) -> tuple[Tensor, Tensor]:
        first, right = self.network.layers[0], rests[1][1]
        if right.shape[1] < 2:  # as many of its inputs are known as there are, but not of the first layer's
            return chosen[:0], chosen[:0, 0]
        units = self._units(chosen.shape[1])
        if units is not None:
            first = Layer(first.weight[units], first.bias[units], first.activation)
            right = torch.linalg.qr(torch.cat([right[units], right[-1:]]))[0]
        following = Affine(right)
        a = affine.inputs(chosen) @ first.weight.T + first.bias
        h = sparse_inputs(following, a.clamp(min=0))
        fine = h.isfinite().all(1)
        h = distinct(h[fine], 1e-3)
        s = behind(first, affine, h, chosen[:1].expand(len(h), -1), pull(self.spans[0], affine, len(h)))
        return s, s.new_zeros(len(s))

    def _rests(self, found: Evidence | None) -> list[tuple[Tensor, Tensor, Tensor]]:
        if found is None:
            return [(span.left, span.right, span.left * span.values) for span in self.spans]
        inputs = self.network.forward(found.inputs).inputs
        return [
            span.rest(delta, augmented(h), fixed=found.error < 1)
            if span.holds_all_of(self.spans[0])
            else (span.left, span.right, span.left * span.values)
            for span, delta, h in zip(self.spans, found.errors, inputs, strict=True)
        ]


def distinct(h: Tensor, tolerance: float) -> Tensor:
    """Return inputs [k, in] without those that are close to an earlier one, relative to its length."""
    close = torch.cdist(h, h) < tolerance * h.norm(dim=1)
    kept: list[int] = []
    for n in range(len(h)):
        if not bool(close[n, kept].any()):
            kept.append(n)
    return h[kept]
