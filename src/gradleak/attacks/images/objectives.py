"""Objectives of gradient matching: the distance between a dummy gradient and the observed one.

Every objective takes two lists of tensors with one entry per parameter, each [K, ...] for K problems that are solved
side by side, and returns [K]. An entry of the catalogue is a distance between the gradients of one parameter, dummy and
observed [K, n], whose weighted sum over the parameters is the objective; or between those of all parameters, given
their weights and number.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial

import torch
from torch import Tensor

from gradleak import global_draws
from gradleak.errors import InputError
from gradleak.plan import catalogue, plugins

Gradients = Sequence[Tensor]
Objective = Callable[[Gradients, Gradients], Tensor]

_TINY = 1e-18
"""Lower bound on norms: it keeps cosines finite at zero, and its square is still a normal float32."""


def _flat(gradients: Gradients) -> list[Tensor]:
    return [g.flatten(1) if g.dim() > 1 else g[:, None] for g in gradients]


def _weights(kind: str, place: Tensor, number: int) -> Tensor:
    """Return the weights of ``number`` parameters by their index from 0.

    ``equal``: 1. ``linear``: falls from 1 to 1/number. ``exp``: 1, 1/e, 1/e^2, ... (the weightings of the released iLRG
    and IG code).
    """
    if kind == "equal":
        return torch.ones_like(place)
    return 1 - place / number if kind == "linear" else torch.exp(-place)


def _count(indices: str, number: int) -> int:
    """Return how many of all parameters take part, see :data:`INDICES`."""
    return number if indices == "def" else min(number, int("".join(filter(str.isdigit, indices)) or 1))


def _factors(indices: str, weights: str, target: list[Tensor]) -> Tensor:
    """Return the weights of the selected parameters, [count, 1]; or of all, with 0 for the others, [number, K]."""
    number, like = len(target), target[0]
    count = _count(indices, number)
    if not indices.startswith("top"):
        return _weights(weights, torch.arange(count, dtype=like.dtype, device=like.device), count)[:, None]
    # The largest parameters differ between problems.
    norms = torch.stack([g.norm(dim=1) for g in target])
    taken = torch.zeros_like(norms).scatter_(0, torch.topk(norms, count, dim=0).indices, 1.0)
    return taken * _weights(weights, taken.cumsum(0) - 1, count)


def squared(d: Tensor, t: Tensor) -> Tensor:
    """Return the sums of squared differences (Zhu, Liu, Han 2019), [K] of [K, n]."""
    # A dot product is a single pass over memory; these tensors are large, and passes dominate the cost.
    difference = d - t
    return torch.linalg.vecdot(difference, difference)


def absolute(d: Tensor, t: Tensor) -> Tensor:
    """Return the sums of absolute differences, [K] of [K, n]."""
    return (d - t).abs().sum(1)


def largest(d: Tensor, t: Tensor) -> Tensor:
    """Return the largest absolute differences, [K] of [K, n]."""
    return (d - t).abs().amax(1)


def _one_minus_cosine(inner: Tensor, mine: Tensor, theirs: Tensor) -> Tensor:
    """Compute one minus cosine from inner products and squared norms."""
    mine, theirs = mine.clamp(min=_TINY**2), theirs.clamp(min=_TINY**2)
    unit = mine.detach().rsqrt()  # normalised first: the derivative at a small norm would overflow
    return 1 - inner * unit * theirs.rsqrt() * (mine * unit * unit).rsqrt()


def _products(dummy: list[Tensor], target: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Inner products and squared norms of each parameter's gradients, [number, K] each."""
    inner, mine, theirs = (
        torch.stack([torch.linalg.vecdot(a, b) for a, b in zip(left, right, strict=True)])
        for left, right in ((dummy, target), (dummy, dummy), (target, target))
    )
    return inner, mine, theirs


def one_minus_cosine(dummy: list[Tensor], target: list[Tensor], factors: Tensor, count: int) -> Tensor:
    """Return one minus the cosine of the whole gradients (Geiping et al., NeurIPS 2020, eq. 4), [K]."""
    return _one_minus_cosine(*((factors * part).sum(0) for part in _products(dummy, target)))


def mean_one_minus_cosine(dummy: list[Tensor], target: list[Tensor], factors: Tensor, count: int) -> Tensor:
    """Return the mean over ``count`` parameters of one minus their own cosine, [K]."""
    inner, mine, theirs = _products(dummy, target)
    # A zero target has no direction to match, so it must not count at the true batch either.
    terms = torch.where(theirs > 0, _one_minus_cosine(inner, mine, theirs), 0.0)
    return (factors * terms).sum(0) / count


INDICES = ("def", "first", "first4", "first5", "first10", "last5", "last10", "top10", "top50")
"""Parameters that take part: all, the first or last ones, or those with the largest norms."""

WEIGHTS = ("equal", "linear", "exp")


def _checked(name: str, value: object, problems: int) -> Tensor:
    """Return the value of a distance, possibly a plug-in's, if it is one number per problem."""
    if isinstance(value, Tensor) and value.shape == (problems,) and value.is_floating_point():
        return value
    what = f"a tensor {list(value.shape)} of {value.dtype}" if isinstance(value, Tensor) else type(value).__name__
    raise InputError(f"objective {name} returned {what}; it must return one floating-point number per problem, [K]")


def build(name: str, *, indices: str = "def", weights: str = "equal") -> Objective:
    """Return an objective.

    Args:
        name: name of the objective in the catalogue.
        indices: a name of :data:`INDICES`.
        weights: a name of :data:`WEIGHTS`.

    Raises:
        InputError: a name is unknown.
    """
    facts, distance = catalogue.find("objectives", name), catalogue.load("objectives", name)
    for what, given, known in (("indices", indices, INDICES), ("weights", weights, WEIGHTS)):
        if given not in known:
            raise InputError(f"unknown {what} {given!r}; known: {', '.join(known)}")

    is_foreign = catalogue.source_of("objectives", name) is not None
    guard = partial(_without_effects, name) if is_foreign else nullcontext

    def objective(dummy: Gradients, target: Gradients) -> Tensor:
        of_dummy, of_target = _flat(dummy), _flat(target)
        count = _count(indices, len(of_target))
        if indices.startswith("first"):
            of_dummy, of_target = of_dummy[:count], of_target[:count]
        elif indices.startswith("last"):
            of_dummy, of_target = of_dummy[-count:], of_target[-count:]
        factors = _factors(indices, weights, of_target)
        with guard(of_target), plugins.guarded("objectives", name, f"objective {name}"):
            if facts.of == "gradient":
                value = _checked(name, distance(of_dummy, of_target, factors, count), len(of_target[0]))
            else:
                terms = [_checked(name, distance(d, t), len(t)) for d, t in zip(of_dummy, of_target, strict=True)]
                value = (factors * torch.stack(terms)).sum(0)
        if any(d.requires_grad for d in of_dummy) and not value.requires_grad:
            raise InputError(
                f"objective {name}: cannot be differentiated by its first argument; compute it from that argument by "
                f"functions of torch, without detach(), item() or numpy()"
            )
        return value

    return objective


@contextmanager
def _without_effects(name: str, target: Gradients) -> Iterator[None]:
    """Refuse a plug-in's distance that draws random numbers or changes the observed gradients, which all steps use."""
    what = f"objective {name}"
    versions = [t._version for t in target]
    with global_draws.refused(what):
        yield
    if [t._version for t in target] != versions:
        raise InputError(f"{what}: changes its second argument, the observed gradient; work on a copy")
