"""What a label-restoration method takes and gives, and the registry that names it."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gradleak.attacks.labels.foreign import foreign
from gradleak.attacks.labels.guess import LabelGuess, LabelMethod
from gradleak.clients.observation import HEAD, Observation
from gradleak.errors import InputError
from gradleak.plan import plugins

__all__ = ["Declared", "LabelGuess", "LabelMethod", "build", "declared", "head_gradient", "names", "register"]

FIELDS = frozenset({"counts", "embeddings", "probabilities"})
"""What a guess may hold besides presence and is measured."""


@dataclass(frozen=True)
class Declared:
    """What a method says of itself when it registers.

    Attributes:
        factory: makes it.
        needs: names of the gradients without which it is not applicable.
        gives: which of :data:`FIELDS` its guesses hold.
    """

    factory: Callable[..., LabelMethod]
    needs: tuple[str, ...]
    gives: frozenset[str]


_METHODS: dict[str, Declared] = {}


def register(
    name: str, *, needs: Sequence[str] = HEAD, gives: Collection[str] = ("counts",)
) -> Callable[[Callable[..., LabelMethod]], Callable[..., LabelMethod]]:
    """Register a factory ``factory(alpha: float) -> LabelMethod`` under ``name``, which must be new.

    Args:
        name: of the method.
        needs: names of the gradients that it reads. Where the client does not send one of them, the method is not
            called, and its results are marked as not applicable.
        gives: which of :data:`FIELDS` its guesses hold besides presence; tells which results it would have had.
    """
    if not set(gives) <= FIELDS:
        raise ValueError(f"label method {name!r} gives {sorted(gives)}; known: {sorted(FIELDS)}")

    def add(factory: Callable[..., LabelMethod]) -> Callable[..., LabelMethod]:
        if name in _METHODS:
            raise ValueError(f"label method {name!r} is registered twice")
        _METHODS[name] = Declared(factory, tuple(needs), frozenset(gives))
        return factory

    return add


def declared(name: str) -> Declared:
    """Return what the method registered under ``name`` says of itself.

    Raises:
        InputError: no such method.
    """
    if name not in _METHODS:
        raise InputError(f"unknown label method {name!r}; known: {', '.join(names())}")
    return _METHODS[name]


def build(name: str, *, alpha: float = 1.0) -> LabelMethod:
    """Return the method registered under ``name``.

    Only methods whose module was imported are known; :mod:`gradleak.attacks.labels.all` imports every one.

    Args:
        name: a registered name, see :func:`names`.
        alpha: factor on the recovered logits before the softmax; only the iLRG family uses it.

    Raises:
        InputError: no such method, or one of a plug-in that cannot be made.
    """
    factory = declared(name).factory
    return foreign(name, factory, alpha) if plugins.used(attacks=[name]) else factory(alpha=alpha)


def names() -> list[str]:
    """Names of all registered methods, sorted."""
    return sorted(_METHODS)


def head_gradient(observation: Observation, name: str) -> Tensor:
    """Return a gradient of the last layer on the CPU, in its own type, checked.

    Args:
        observation: what the server sees.
        name: ``head.weight`` for dL/dW [C, d] or ``head.bias`` for dL/db [C].

    Raises:
        InputError: the gradient is missing or not finite.
    """
    if name not in observation.gradients:
        raise InputError(f"label restoration needs the gradient of {name}; the observation does not hold it")
    gradient = observation.gradients[name].detach().cpu()
    bad = int((~torch.isfinite(gradient)).sum())
    if bad:
        raise InputError(
            f"the gradient of {name} has {bad} NaN or infinite entries of {gradient.numel()}; "
            "labels can only be restored from finite gradients"
        )
    return gradient
