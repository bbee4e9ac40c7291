"""How far a dummy gradient is from the observed one: the objectives of gradient matching.

Every objective takes two lists of tensors with one entry per parameter, each [K, ...] for K problems that are solved
side by side, and returns [K].
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from gradleak.errors import InputError

Gradients = Sequence[Tensor]
Objective = Callable[[Gradients, Gradients], Tensor]

_TINY = 1e-12
"""Keeps the derivative of a norm finite at zero."""


def _flat(gradients: Gradients) -> list[Tensor]:
    return [g.flatten(1) if g.dim() > 1 else g[:, None] for g in gradients]


def _weights(kind: str, number: int) -> list[float]:
    """Weight of each parameter, first layer first.

    ``equal``: 1. ``linear``: falls from 1 to 1/number. ``exp``: proportional to exp(number), exp(number - 1), ...,
    with the sum 1 (the weightings of the released iLRG and IG code).
    """
    if kind == "equal":
        return [1.0] * number
    falling = torch.arange(number, 0, -1, dtype=torch.float64)
    return (falling / number if kind == "linear" else torch.softmax(falling, dim=0)).tolist()


def _chosen(indices: str, target: list[Tensor]) -> list[int]:
    """Positions of the parameters that take part, see :data:`INDICES`."""
    number = len(target)
    count = int("".join(filter(str.isdigit, indices)) or 1)
    if indices == "def":
        return list(range(number))
    if indices.startswith("first"):
        return list(range(min(count, number)))
    if indices.startswith("last"):
        return list(range(max(0, number - count), number))
    norms = torch.stack([g.norm(dim=1).mean() for g in target])
    return torch.topk(norms, min(count, number)).indices.sort().values.tolist()


def _l2(dummy: list[Tensor], target: list[Tensor]) -> list[Tensor]:
    # A product of a vector with itself is one pass over memory; these tensors are large and the passes are the cost.
    differences = [d - t for d, t in zip(dummy, target, strict=True)]
    return [torch.linalg.vecdot(difference, difference) for difference in differences]


def _l1(dummy: list[Tensor], target: list[Tensor]) -> list[Tensor]:
    return [(d - t).abs().sum(1) for d, t in zip(dummy, target, strict=True)]


def _max(dummy: list[Tensor], target: list[Tensor]) -> list[Tensor]:
    return [(d - t).abs().amax(1) for d, t in zip(dummy, target, strict=True)]


def _cosine_per_layer(dummy: list[Tensor], target: list[Tensor]) -> list[Tensor]:
    return [
        (1 - torch.cosine_similarity(d, t, dim=1, eps=_TINY)) / len(dummy) for d, t in zip(dummy, target, strict=True)
    ]


def _cosine(dummy: list[Tensor], target: list[Tensor], weights: list[float]) -> Tensor:
    inner, mine, theirs = (
        _weighted([torch.linalg.vecdot(a, b) for a, b in zip(left, right, strict=True)], weights)
        for left, right in ((dummy, target), (dummy, dummy), (target, target))
    )
    return 1 - inner / ((mine + _TINY) * (theirs + _TINY)).sqrt()


def _weighted(terms: list[Tensor], weights: list[float]) -> Tensor:
    """Add tensors of one shape, each times its weight."""
    return torch.stack(
        [term if weight == 1 else term * weight for term, weight in zip(terms, weights, strict=True)]
    ).sum(0)


_PER_PARAMETER: dict[str, Callable[[list[Tensor], list[Tensor]], list[Tensor]]] = {
    "l2": _l2,
    "l1": _l1,
    "max": _max,
    "simlocal": _cosine_per_layer,
}

OBJECTIVES = (*_PER_PARAMETER, "sim")
"""``l2``: sum of squared differences (Zhu, Liu, Han 2019). ``sim``: one minus the cosine of the whole gradients
(Geiping et al., NeurIPS 2020, eq. 4). ``simlocal``: the mean over parameters of one minus their own cosine. ``l1``,
``max``: sums over parameters of the sum, or the largest, of the absolute differences."""

INDICES = ("def", "first", "first4", "first5", "first10", "last5", "last10", "top10", "top50")
"""Parameters that take part: all, the first or last ones, or those with the largest norms."""

WEIGHTS = ("equal", "linear", "exp")


def build(name: str, *, indices: str = "def", weights: str = "equal") -> Objective:
    """Return an objective.

    Args:
        name: a name of :data:`OBJECTIVES`.
        indices: a name of :data:`INDICES`.
        weights: a name of :data:`WEIGHTS`.

    Raises:
        InputError: an unknown name.
    """
    for what, given, known in (
        ("objective", name, OBJECTIVES),
        ("indices", indices, INDICES),
        ("weights", weights, WEIGHTS),
    ):
        if given not in known:
            raise InputError(f"unknown {what} {given!r}; known: {', '.join(known)}")

    def objective(dummy: Gradients, target: Gradients) -> Tensor:
        of_dummy, of_target = _flat(dummy), _flat(target)
        chosen = _chosen(indices, of_target)
        of_dummy, of_target = [of_dummy[i] for i in chosen], [of_target[i] for i in chosen]
        factors = _weights(weights, len(chosen))
        if name == "sim":
            return _cosine(of_dummy, of_target, factors)
        return _weighted(_PER_PARAMETER[name](of_dummy, of_target), factors)

    return objective
