"""Peeling: find some images, take them out of the spans, and search for the others in the smaller ones."""

from dataclasses import dataclass

import torch
from torch import Tensor

from gradleak.attacks.exact.affine import Affine
from gradleak.attacks.exact.beside import equations
from gradleak.attacks.exact.evidence import Evidence, examine, looks_back, looks_forward
from gradleak.attacks.exact.isolation import wander
from gradleak.attacks.exact.known import Known
from gradleak.attacks.exact.network import Network
from gradleak.attacks.exact.pairing import contradicted, pairings
from gradleak.attacks.exact.search import Search, distinct
from gradleak.attacks.exact.settle import finished, settled, whole_problem
from gradleak.attacks.exact.spans import Span

_FRUITLESS = 6
"""Rounds without a new image after which the search ends."""

_NEAR = 6.0
"""Residual over the one that noise predicts, up to which a candidate passes."""

_MARGIN = 5.0
"""How many times worse the second-best label must fit."""

_SMALL = 1e-5
"""Predicted relative error down to which images are solved for once more."""

_FEW = 4
"""Candidates up to which each is worth a search around it."""

_AT_ROOT = 1.5
"""Residual over the one that noise predicts, beyond which an image can still be solved for better."""

_ROUNDS = 4
"""How often at most all images are solved for beside one another before the last time."""

KNOWN = 1e-2
"""Predicted relative error of delta up to which an image counts as found, though its input is not fixed yet."""

_VAGUE = 1e-1
"""The same of images that are added in the end, when nothing is searched for beside them any more."""

_ALIKE = 0.1
"""Distance, relative, from any image found that a vague one needs."""


@dataclass(frozen=True)
class Peeling:
    """The images of one gradient: searched for, tested, taken out, and in the end solved for beside one another.

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
        search = Search(self.network, self.spans)
        ways = search.ways()
        vague: list[Tensor] = []
        tried = dict.fromkeys(ways, 0)  # rounds since a way last gave an image
        gave: dict[tuple[float, ...] | None, float] = dict.fromkeys(ways, torch.inf)  # images of its last round
        while (0 if found is None else len(found)) < rank and fruitless < _FRUITLESS:
            before = 0 if found is None else len(found)
            way = max(ways, key=lambda each: (gave[each], -tried[each]))
            h = self._polished(search.candidates(found, way, tried[way], generator), found)
            if len(h):
                new = examine(self.network, self.spans, h, self._known(h, found))
                found = self._accept(new, found, up_to=KNOWN)
                vague.append(h[passes(new) & (new.of_errors >= KNOWN)])
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
        return self._with_vague(vague, found)

    def _with_vague(self, vague: list[Tensor], found: Evidence | None) -> Evidence | None:
        """Return the images found with inputs that passed, but whose errors are too vague to take them out."""
        if not vague or (found is not None and len(found) == self.spans[0].rank):
            return found
        h = self._polished(distinct(torch.cat(vague), _ALIKE), found)
        if found is not None and len(h):
            h = h[(torch.cdist(h, found.inputs) > _ALIKE * h.norm(dim=1, keepdim=True)).all(1)]
        if not len(h):
            return found
        return self._accept(examine(self.network, self.spans, h, self._known(h, found)), found, up_to=_VAGUE)

    def _polished(self, h: Tensor, found: Evidence | None) -> Tensor:
        """Take last steps in the spans of the whole gradient: what was taken out before disturbs no more."""
        if not len(h):
            return h
        problem, affine, s = whole_problem(self.network, self.spans, h, self._known(h, found))
        s = settled(problem, affine, s) if len(s) <= _FEW else finished(problem, s)[0]
        return distinct(affine.inputs(s[s.isfinite().all(1)]), 1e-4)

    def _known(self, h: Tensor, found: Evidence | None, *, of_themselves: bool = False) -> Known | None:
        if found is None or not looks_forward(self.spans):
            return None
        affine = Affine(self.spans[0].right)
        return equations(self.network, self.spans, affine, found, h, of_themselves=of_themselves)

    def again(self, found: Evidence) -> Evidence:
        """Return images solved for once more, each beside all others, where that makes them more certain."""
        h, known = found.inputs, self._known(found.inputs, found, of_themselves=True)
        now = examine(self.network, self.spans, h, known)
        good = passes(now)
        if bool((good & (now.error <= _SMALL) & (now.forward < _AT_ROOT)).all()):
            return self._apart(now)
        problem, affine, s = whole_problem(self.network, self.spans, h, known)
        h = affine.inputs(settled(problem, affine, s))
        new = examine(self.network, self.spans, h, self._known(h, found, of_themselves=True))
        better = (
            passes(new)
            & (new.labels == found.labels)
            & (~good | (new.error < now.error) | (new.forward < now.forward - 1))
        )
        # One that passes no test beside the others keeps what made it pass alone: its error is still known.
        choice = torch.where(better, 2, good.long())
        index = torch.arange(len(found), device=h.device) + len(found) * choice
        return self._apart(found.joined(now).joined(new).select(index))

    def certain(self, found: Evidence) -> tuple[Evidence, Tensor] | None:
        """Return images solved for beside all others, if that fixes them and contradicts no other.

        And how far from each another root is that noise cannot tell from it, relative, [k]. None if none is left.
        """
        for _ in range(_ROUNDS):
            before = found
            found = self.again(before)
            falls = len(found) < len(before) or bool((found.error < 0.9 * before.error).any())
            falls = falls or bool((found.forward < before.forward - 1).any())
            if not len(found) or not falls or bool(((found.error <= _SMALL) & (found.forward < _AT_ROOT)).all()):
                break
        if not len(found):
            return None
        # Without the pull, which is no evidence: where it has led an input astray, steps lead back.
        h, known = found.inputs, self._known(found.inputs, found, of_themselves=True)
        problem, affine, s = whole_problem(self.network, self.spans, h, known, pulled=False)
        last = examine(self.network, self.spans, h, known)
        fixed = passes(last) & (last.error < 1)
        kept = torch.nonzero(fixed & ~contradicted(pairings(self.network, self.spans, last))).flatten()
        return (last.select(kept), wander(problem, affine, s)[kept]) if len(kept) else None

    def _accept(self, new: Evidence, found: Evidence | None, *, up_to: float) -> Evidence | None:
        """Return the images found so far with those of some candidates that pass, the strongest first."""
        new = new.select(torch.nonzero(passes(new) & (new.of_errors < up_to)).flatten())
        new = new.select(new.strength.argsort())
        together = self._apart(new if found is None else found.joined(new))
        return together if len(together) else None

    def _apart(self, found: Evidence) -> Evidence:
        """Return images without those that are there twice or contradict others."""
        found = found.select(torch.nonzero(~copies(found).triu(1).any(0)).flatten())
        found = found.select(torch.arange(min(len(found), self.spans[0].rank)))
        if not len(found):
            return found
        return found.select(torch.nonzero(~contradicted(pairings(self.network, self.spans, found))).flatten())


def passes(new: Evidence) -> Tensor:
    """Return which candidates are taken for images, [k] bool."""
    return (new.forward < _NEAR) & (new.backward < _NEAR) & (new.margin > _MARGIN)


def copies(found: Evidence) -> Tensor:
    """Return which images are the same, [k, k] bool: a copy of one, also when noise disturbs it, has its error."""
    unit = torch.nn.functional.normalize(found.errors[0], dim=1)
    return (unit @ unit.T).abs() > 1 - 1e-6
