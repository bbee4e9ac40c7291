"""Peeling: find some images, take them out of the spans, and search for the others in the smaller ones."""

from dataclasses import dataclass

import torch
from torch import Tensor

from gradleak.attacks.exact.affine import Affine
from gradleak.attacks.exact.backward import Backward
from gradleak.attacks.exact.beside import equations, pull
from gradleak.attacks.exact.evidence import Evidence, examine, fixing_rows, looks_back, looks_forward, telling_columns
from gradleak.attacks.exact.forward import Forward
from gradleak.attacks.exact.isolation import wander, weakly_isolated
from gradleak.attacks.exact.known import Known
from gradleak.attacks.exact.levenberg import NONE, Problem, minimise
from gradleak.attacks.exact.network import Layer, Network, augmented
from gradleak.attacks.exact.pairing import contradicted, pairings
from gradleak.attacks.exact.smoothing import WIDTHS, smoothed
from gradleak.attacks.exact.spans import Span
from gradleak.attacks.exact.sparse import behind, rectifies, sparse_inputs
from gradleak.attacks.exact.starts import mixed_starts, row_starts

STARTS = 128
"""Starts of a round."""

UNITS = 5
"""Units per unknown that a search looks at; a last look takes all."""

FAR, CLOSE = 1e3, 1e-4
"""A search's ends are looked at whose sum of squares is at most this many times the smallest, or this share of the
largest."""

FRUITLESS = 6
"""Rounds without a new image after which the search ends."""

_NUMBERS = 2**27
"""Numbers in the derivatives of the starts that are held at once (1 GiB)."""

NEAR = 6.0
"""Residual over the one that noise predicts, up to which a candidate passes."""

MARGIN = 5.0
"""How many times worse the second-best label must fit."""

PUSHES = (1e-2, 1e-2, 1e-1)
"""Lengths of the pushes after which images are solved for again, over that of the image."""

SMALL = 1e-5
"""Predicted relative error down to which images are solved for once more."""

FEW = 4
"""Candidates up to which each is worth a search around it."""

ROUNDS = 4
"""How often at most all images are solved for beside one another before the last time."""

KNOWN = 1e-2
"""Predicted relative error of delta up to which an image counts as found, though its input is not fixed yet."""


@dataclass(frozen=True)
class Peeling:
    """A search in one gradient.

    Attributes:
        network: the layers.
        spans: of the gradient of each.
    """

    network: Network
    spans: tuple[Span, ...]

    def run(self) -> Evidence | None:
        """Return the images that pass all tests together, or None if there are none.

        Of some the next layer fixes only what it reads: with fewer active ReLU units than unknowns, a root has
        neighbours. Their errors are known all the same, and that is enough to take them out of the spans and to give
        the others equations. In the end each is solved for beside all others, which may fix it.
        """
        generator = torch.Generator().manual_seed(0)
        found: Evidence | None = None
        fruitless, rank, settled = 0, self.spans[0].rank, False
        if not rank or self.spans[0].saturated or not (looks_forward(self.spans) or looks_back(self.spans)):
            return None
        ways = self._ways()
        tried = dict.fromkeys(ways, 0)  # rounds since a way last gave an image
        gave: dict[float | None, float] = dict.fromkeys(ways, torch.inf)  # images of its last round
        while (0 if found is None else len(found)) < rank and fruitless < FRUITLESS:
            before = 0 if found is None else len(found)
            way = max(ways, key=lambda each: (gave[each], -tried[each]))
            h = self._candidates(found, way, tried[way], generator)
            if len(h):
                found = self._accept(self._examined(h, found), found)
            now = 0 if found is None else len(found)
            gave[way] = max(now - before, 0)
            if now > before:
                fruitless, tried, settled = 0, dict.fromkeys(ways, 0), False
            else:
                fruitless, tried[way] = fruitless + 1, tried[way] + 1
            if found is not None and fruitless > 1 and not settled and looks_forward(self.spans):
                found, settled = self.again(found), True
            if now == before and now == rank - 1:
                break  # the last one has no unknown: another start changes nothing
        return found

    def _ways(self) -> tuple[float | None, ...]:
        """Return the ways to search: a width of the blur, or None for the sparse search."""
        if not (looks_forward(self.spans) and self.network.layers[0].has_kinks):
            return (0.0,)
        return (None, *WIDTHS) if rectifies(self.network.layers[0]) else WIDTHS

    def _candidates(
        self, found: Evidence | None, way: float | None, attempt: int, generator: torch.Generator
    ) -> Tensor:
        """Search in what is left of the spans, and polish in the whole ones: inputs [k, in]."""
        rests = self._rests(found)
        right, rows = rests[0][1], rests[0][2]
        affine = Affine(right)
        if right.shape[1] == 1:
            return self._polished(affine.inputs(right.new_zeros(1, 0)), found)
        s = row_starts(rows, affine)
        if not len(s):
            return right.new_zeros(0, len(right) - 1)
        count = min(STARTS, 2 * right.shape[1] + 32)
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
        low = torch.maximum(FAR * cost[fine].min(), CLOSE * cost[fine].max())
        best = torch.nonzero(fine & (cost <= low)).flatten()
        best = best[cost[best].argsort()]
        return self._polished(_distinct(affine.inputs(chosen[best]), 1e-3), found)

    def _search(
        self,
        rests: list[tuple[Tensor, Tensor, Tensor]],
        affine: Affine,
        chosen: Tensor,
        usual: Tensor,
        width: float,
    ) -> tuple[Tensor, Tensor]:
        """Return where starts [m, q] lead, and their sums of squares; without those that meet on the way."""
        if not looks_forward(self.spans):
            labels = self._start_labels(rests, affine, chosen)
            lefts = [rests[i][0] if i in telling_columns(self.spans) else None for i in range(len(rests))]
            return _in_parts(Backward(self.network, affine, lefts, labels), chosen, steps=25, tolerance=1e-18)
        rights = [rests[i][1] for i in fixing_rows(self.spans)]
        units = self._units(chosen.shape[1]) if len(rights) == 1 else None
        single = torch.float32
        chosen = chosen.to(single)
        if width:
            blurred = smoothed(self.network, affine.inputs(usual[:64]), width, units)
            first = Forward(blurred, affine, rights, units=units, dtype=single)
            chosen = _distinct(_in_parts(first, chosen, steps=12, gain=1e-2)[0], 1e-2)
        problem = Forward(self.network, affine, rights, units=units, dtype=single)
        chosen, cost = _in_parts(problem, chosen, steps=15 if width else 25, tolerance=1e-9, gain=1e-2)
        return chosen.double(), cost

    def _units(self, unknowns: int) -> Tensor | None:
        """Return the units of the first layer that a search looks at, or None for all."""
        layer, enough = self.network.layers[0], UNITS * unknowns + 64
        if len(layer.bias) <= enough:
            return None
        return torch.linspace(0, len(layer.bias) - 1, enough, device=layer.bias.device).round().long()

    def _sparse_search(
        self, rests: list[tuple[Tensor, Tensor, Tensor]], affine: Affine, chosen: Tensor
    ) -> tuple[Tensor, Tensor]:
        first, right = self.network.layers[0], rests[1][1]
        units = self._units(chosen.shape[1])
        if units is not None:
            first = Layer(first.weight[units], first.bias[units], first.activation)
            right = torch.linalg.qr(torch.cat([right[units], right[-1:]]))[0]
        following = Affine(right)
        a = affine.inputs(chosen) @ first.weight.T + first.bias
        h = sparse_inputs(following, a.clamp(min=0))
        fine = h.isfinite().all(1)
        h = _distinct(h[fine], 1e-3)
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

    def _start_labels(self, rests: list[tuple[Tensor, Tensor, Tensor]], affine: Affine, chosen: Tensor) -> Tensor:
        """Return the label [m] whose errors fit each start best in what is left of the column spaces."""
        passed = self.network.forward(affine.inputs(chosen))
        C = self.network.num_classes
        worst = chosen.new_zeros(len(chosen), C)
        for y in range(C):
            labels = torch.full((len(chosen),), y, device=chosen.device)
            for i, delta in enumerate(self.network.errors(passed, labels)):
                if i in telling_columns(self.spans):
                    U = rests[i][0]
                    share = (delta - (delta @ U) @ U.T).norm(dim=1) / delta.norm(dim=1)
                    worst[:, y] = torch.maximum(worst[:, y], share)
        return worst.argmin(1)

    def _polished(self, h: Tensor, found: Evidence | None) -> Tensor:
        """Take last steps in the spans of the whole gradient: what was taken out before disturbs no more."""
        if not len(h):
            return h
        problem, affine, s = self._whole(h, found)
        s = _settled(problem, affine, s) if len(s) <= FEW else _finished(problem, s)[0]
        return _distinct(affine.inputs(s[s.isfinite().all(1)]), 1e-4)

    def _whole(
        self, h: Tensor, found: Evidence | None, *, of_themselves: bool = False
    ) -> tuple[Problem, Affine, Tensor]:
        """Return the problem in the spans of the whole gradient, and inputs h [k, in] in it, beside images found."""
        affine = Affine(self.spans[0].right)
        s = affine.unknowns(augmented(h) @ self.spans[0].right)
        if looks_forward(self.spans):
            rights = [self.spans[i].right for i in fixing_rows(self.spans)]
            known = self._known(h, found, affine, of_themselves=of_themselves)
            weakly = pull(self.spans[0], affine, len(h))
            known = weakly if known is None else known.joined(weakly)
            return Forward(self.network, affine, rights, known=known), affine, s
        columns = telling_columns(self.spans)
        lefts = [span.left if i in columns else None for i, span in enumerate(self.spans)]
        labels = examine(self.network, self.spans, h).labels
        return Backward(self.network, affine, lefts, labels), affine, s

    def _known(self, h: Tensor, found: Evidence | None, affine: Affine, *, of_themselves: bool) -> Known | None:
        if found is None or not looks_forward(self.spans):
            return None
        return equations(self.network, self.spans, affine, found, h, of_themselves=of_themselves)

    def _examined(self, h: Tensor, found: Evidence | None, *, of_themselves: bool = False) -> Evidence:
        """Return what speaks for candidates h [k, in], beside images found."""
        known = self._known(h, found, Affine(self.spans[0].right), of_themselves=of_themselves)
        return examine(self.network, self.spans, h, known)

    def again(self, found: Evidence) -> Evidence:
        """Return images solved for once more, each beside all others, where that makes them more certain."""
        problem, affine, s = self._whole(found.inputs, found, of_themselves=True)
        s = _settled(problem, affine, s)
        new = self._examined(affine.inputs(s), found, of_themselves=True)
        better = _passes(new) & (new.error < found.error) & (new.labels == found.labels)
        k = len(found)
        return self._apart(found.joined(new).select(torch.arange(k, device=s.device) + k * better))

    def certain(self, found: Evidence) -> tuple[Evidence, Tensor] | None:
        """Return images solved for beside all others, if that fixes them and contradicts no other.

        And how far from each another root is that noise cannot tell from it, relative, [k]. None if none is left.
        """
        for _ in range(ROUNDS):
            before = found
            if not bool((before.error > SMALL).any()):
                break
            found = self.again(before)
            if len(found) == len(before) and not bool((found.error < 0.9 * before.error).any()):
                break
        if not len(found):
            return None
        problem, affine, s = self._whole(found.inputs, found, of_themselves=True)
        last = self._examined(found.inputs, found, of_themselves=True)
        fixed = _passes(last) & (last.error < 1)
        kept = torch.nonzero(fixed & ~contradicted(pairings(self.network, self.spans, last))).flatten()
        return (last.select(kept), wander(problem, affine, s)[kept]) if len(kept) else None

    def _accept(self, new: Evidence, found: Evidence | None) -> Evidence | None:
        """Return the images found so far with those of some candidates that pass, the strongest first."""
        new = new.select(torch.nonzero(_passes(new) & (new.of_errors < KNOWN)).flatten())
        new = new.select(new.strength.argsort())
        together = self._apart(new if found is None else found.joined(new))
        return together if len(together) else None

    def _apart(self, found: Evidence) -> Evidence:
        """Return images without those that are there twice or contradict others."""
        # A copy of a strong image, disturbed by noise, has its error.
        unit = torch.nn.functional.normalize(found.errors[0], dim=1)
        close = (unit @ unit.T).abs().triu(1) > 1 - 1e-6
        found = found.select(torch.nonzero(~close.any(0)).flatten())
        found = found.select(torch.arange(min(len(found), self.spans[0].rank)))
        if not len(found):
            return found
        return found.select(torch.nonzero(~contradicted(pairings(self.network, self.spans, found))).flatten())


def _passes(new: Evidence) -> Tensor:
    return (new.forward < NEAR) & (new.backward < NEAR) & (new.margin > MARGIN)


def _settled(problem: Problem, affine: Affine, s: Tensor) -> Tensor:
    """Return the best that steps from s [k, q], and from points near where they lead, come to.

    Kinks leave minima beside a root that is weakly isolated, wherever a unit is on its wrong side.
    """
    best, lowest = _finished(problem, s)
    if not s.shape[1]:
        return best
    generator = torch.Generator().manual_seed(0)
    weak = weakly_isolated(problem.normal(best)[2])
    for push in PUSHES if len(weak) else ():
        draws = torch.randn(len(weak), s.shape[1], dtype=s.dtype, generator=generator).to(s.device)
        length = push * affine.inputs(best[weak]).norm(dim=1, keepdim=True)
        pushed = best[weak] + length * torch.nn.functional.normalize(draws, dim=1)
        ends, cost = _finished(problem.of(weak), pushed)
        lower = cost < lowest[weak]
        best[weak[lower]], lowest[weak[lower]] = ends[lower], cost[lower]
    return best


def _finished(problem: Problem, s: Tensor) -> tuple[Tensor, Tensor]:
    """Take steps from starts that are near roots, the last ones free, and return their sums of squares too."""
    s, _ = _in_parts(problem, s, steps=8)
    return _in_parts(problem, s, steps=4, damping=NONE)


def _in_parts(
    problem: Problem, s: Tensor, *, steps: int, tolerance: float = 0.0, gain: float = 1e-6, damping: float = 1e-3
) -> tuple[Tensor, Tensor]:
    """Minimise from starts in parts that fit into memory."""
    width = len(problem.slope)
    each = max(1, _NUMBERS // (width * max(1, s.shape[1])))
    parts = [
        minimise(problem.of(part), s[part], steps=steps, tolerance=tolerance, gain=gain, damping=damping)
        for part in torch.arange(len(s), device=s.device).split(each)
    ]
    return torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts])


def _distinct(h: Tensor, tolerance: float) -> Tensor:
    """Return inputs [k, in] without those that are close to an earlier one, relative to its length."""
    close = torch.cdist(h, h) < tolerance * h.norm(dim=1)
    kept: list[int] = []
    for n in range(len(h)):
        if not bool(close[n, kept].any()):
            kept.append(n)
    return h[kept]
