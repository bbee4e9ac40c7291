"""Peeling: find some images, take them out of the spans, and search for the others in the smaller ones."""

from dataclasses import dataclass

import torch
from torch import Tensor

from gradleak.attacks.exact.affine import Affine
from gradleak.attacks.exact.backward import Backward
from gradleak.attacks.exact.evidence import Evidence, examine, fixing_rows, looks_back, looks_forward, telling_columns
from gradleak.attacks.exact.forward import Forward
from gradleak.attacks.exact.isolation import wander
from gradleak.attacks.exact.known import Known, equations
from gradleak.attacks.exact.levenberg import NONE, Problem, minimise
from gradleak.attacks.exact.network import Network, augmented
from gradleak.attacks.exact.pairing import contradicted, pairings
from gradleak.attacks.exact.smoothing import WIDTHS, smoothed
from gradleak.attacks.exact.spans import Span
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
        fruitless, rank = 0, self.spans[0].rank
        if not rank or self.spans[0].saturated or not (looks_forward(self.spans) or looks_back(self.spans)):
            return None
        widths = WIDTHS if looks_forward(self.spans) and self.network.layers[0].has_kinks else (0.0,)
        tried = dict.fromkeys(widths, 0)  # rounds since a width last gave an image
        gave: dict[float, float] = dict.fromkeys(widths, torch.inf)  # images of its last round
        while (0 if found is None else len(found)) < rank and fruitless < FRUITLESS:
            before = 0 if found is None else len(found)
            width = max(widths, key=lambda each: (gave[each], -tried[each]))
            h = self._candidates(found, width, tried[width], generator)
            if len(h):
                found = self._accept(self._examined(h, found), found)
            now = 0 if found is None else len(found)
            gave[width] = max(now - before, 0)
            if now > before:
                fruitless, tried = 0, dict.fromkeys(widths, 0)
            else:
                fruitless, tried[width] = fruitless + 1, tried[width] + 1
            if now == before and now == rank - 1:
                break  # the last one has no unknown: another start changes nothing
        return found

    def _candidates(self, found: Evidence | None, width: float, attempt: int, generator: torch.Generator) -> Tensor:
        """Search in what is left of the spans, and polish in the whole ones: inputs [k, in]."""
        rests = self._rests(found)
        right, rows = rests[0][1], rests[0][2]
        affine = Affine(right)
        if right.shape[1] == 1:
            return affine.inputs(right.new_zeros(1, 0))
        s = row_starts(rows, affine)
        if not len(s):
            return right.new_zeros(0, len(right) - 1)
        count = min(STARTS, 2 * right.shape[1] + 32)
        chosen = s[attempt * count : (attempt + 1) * count]
        if not len(chosen):
            chosen = mixed_starts(s, count, generator)
        chosen, cost = self._search(rests, affine, chosen, s, width)
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
        units, out, q = None, len(self.network.layers[0].bias), chosen.shape[1]
        if len(rights) == 1 and out > (enough := UNITS * q + 64):
            units = torch.linspace(0, out - 1, enough, device=chosen.device).round().long()
        single = torch.float32
        chosen = chosen.to(single)
        if width:
            blurred = smoothed(self.network, affine.inputs(usual[:64]), width, units)
            first = Forward(blurred, affine, rights, units=units, dtype=single)
            chosen = _distinct(_in_parts(first, chosen, steps=12, gain=1e-2)[0], 1e-2)
        problem = Forward(self.network, affine, rights, units=units, dtype=single)
        chosen, cost = _in_parts(problem, chosen, steps=15 if width else 25, tolerance=1e-9, gain=1e-2)
        return chosen.double(), cost

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
        s, _ = _in_parts(problem, s, steps=8)
        s, _ = _in_parts(problem, s, steps=4, damping=NONE)
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
        return examine(self.network, self.spans, h, None if known is None else (known.gram(), known.variance))

    def certain(self, found: Evidence) -> tuple[Evidence, Tensor] | None:
        """Return images solved for once more, each beside all others, if that fixes them and contradicts no other.

        And how far from each another root is that noise cannot tell from it, relative, [k]. None if none is left.
        """
        problem, affine, s = self._whole(found.inputs, found, of_themselves=True)
        s, _ = _in_parts(problem, s, steps=8)  # those that others fix may be far from where they will be
        s, _ = _in_parts(problem, s, steps=4, damping=NONE)
        again = self._examined(affine.inputs(s), found, of_themselves=True)
        kept = torch.nonzero((again.error < 1) & ~contradicted(pairings(self.network, self.spans, again))).flatten()
        return (again.select(kept), wander(problem, affine, s)[kept]) if len(kept) else None

    def _accept(self, new: Evidence, found: Evidence | None) -> Evidence | None:
        """Return the images found so far with those of some candidates that pass, the strongest first."""
        passes = (new.forward < NEAR) & (new.backward < NEAR) & (new.margin > MARGIN) & (new.of_errors < KNOWN)
        new = new.select(torch.nonzero(passes).flatten())
        new = new.select(new.strength.argsort())
        together = new if found is None else found.joined(new)
        # A copy of a strong image, disturbed by noise, has its error.
        unit = torch.nn.functional.normalize(together.errors[0], dim=1)
        close = (unit @ unit.T).abs().triu(1) > 1 - 1e-6
        together = together.select(torch.nonzero(~close.any(0)).flatten())
        together = together.select(torch.arange(min(len(together), self.spans[0].rank)))
        if not len(together):
            return None
        kept = ~contradicted(pairings(self.network, self.spans, together))
        together = together.select(torch.nonzero(kept).flatten())
        return together if len(together) else None


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
