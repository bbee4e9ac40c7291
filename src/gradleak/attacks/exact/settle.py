"""Last steps: from points near roots to the roots, in the spans of the whole gradient."""

from collections.abc import Sequence

import torch
from torch import Tensor

from gradleak.attacks.exact.affine import Affine
from gradleak.attacks.exact.backward import Backward
from gradleak.attacks.exact.beside import pull
from gradleak.attacks.exact.evidence import examine, fixing_rows, looks_forward, telling_columns
from gradleak.attacks.exact.forward import Forward
from gradleak.attacks.exact.isolation import weakly_isolated
from gradleak.attacks.exact.known import Known
from gradleak.attacks.exact.levenberg import NONE, Problem, minimise_in_parts
from gradleak.attacks.exact.network import Network, augmented
from gradleak.attacks.exact.spans import Span

_PUSHES = (1e-2, 1e-2, 1e-1)
"""Lengths of the pushes after which images are solved for again, over that of the image."""


def whole_problem(
    network: Network, spans: Sequence[Span], h: Tensor, known: Known | None, *, pulled: bool = True
) -> tuple[Problem, Affine, Tensor]:
    """Return the problem in the spans of the whole gradient, where its inputs lie, and the unknowns of h in it.

    Args:
        network: the layers.
        spans: of the gradient of each.
        h: [k, in] inputs.
        known: equations that images give for them.
        pulled: whether inputs are led to where noise disturbs them little (:func:`gradleak.attacks.exact.beside.pull`).
    """
    affine = Affine(spans[0].right)
    s = affine.unknowns(augmented(h) @ spans[0].right)
    if looks_forward(spans):
        rights = [spans[i].right for i in fixing_rows(spans)]
        if pulled:
            weakly = pull(spans[0], affine, len(h))
            known = weakly if known is None else known.joined(weakly)
        return Forward(network, affine, rights, known=known), affine, s
    columns = telling_columns(spans)
    lefts = [span.left if i in columns else None for i, span in enumerate(spans)]
    return Backward(network, affine, lefts, examine(network, spans, h).labels), affine, s


def settled(problem: Problem, affine: Affine, s: Tensor) -> Tensor:
    """Return the best that steps from s [k, q], and from points near where they lead, come to.

    Kinks leave minima beside a root that is weakly isolated, wherever a unit is on its wrong side.
    """
    best, lowest = finished(problem, s)
    if not s.shape[1]:
        return best
    generator = torch.Generator().manual_seed(0)
    weak = weakly_isolated(problem.normal(best)[2])
    for push in _PUSHES if len(weak) else ():
        draws = torch.randn(len(weak), s.shape[1], dtype=s.dtype, generator=generator).to(s.device)
        length = push * affine.inputs(best[weak]).norm(dim=1, keepdim=True)
        pushed = best[weak] + length * torch.nn.functional.normalize(draws, dim=1)
        ends, cost = finished(problem.of(weak), pushed)
        lower = cost < lowest[weak]
        best[weak[lower]], lowest[weak[lower]] = ends[lower], cost[lower]
    return best


def finished(problem: Problem, s: Tensor) -> tuple[Tensor, Tensor]:
    """Take steps from starts that are near roots, the last ones free, and return their sums of squares too."""
    s, _ = minimise_in_parts(problem, s, steps=8)
    return minimise_in_parts(problem, s, steps=4, damping=NONE)
