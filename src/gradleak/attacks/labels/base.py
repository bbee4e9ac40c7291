"""What a label-restoration method takes and gives, and the registry that names it."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gradleak.clients.observation import HEAD, Observation
from gradleak.errors import InputError


@dataclass(frozen=True)
class LabelGuess:
    """What a method says about a batch of B images from C classes.

    Attributes:
        presence: [C] bool, whether the class is believed to be in the batch.
        counts: [C] int64, believed number of instances per class by plain rounding, as published; None for
            methods that only restore presence. Need not sum to B.
        assignable_counts: [C] int64, non-negative and summing to B (largest remainder); what image
            reconstruction assigns as labels. None where counts is None.
        embeddings: [C, d] float64, the recovered mean embedding of each class, if the method recovers one.
        probabilities: [C, C] float64, row c is the recovered mean softmax output of class c, if recovered.
        restricted_to: [C] bool, the classes among which the method was asked to decide, because it knew that
            no other is in the batch; None if it decided on all classes. Instance accuracy is over these
            classes only.
    """

    presence: Tensor
    counts: Tensor | None = None
    assignable_counts: Tensor | None = None
    embeddings: Tensor | None = None
    probabilities: Tensor | None = None
    restricted_to: Tensor | None = None


LabelMethod = Callable[[Observation], LabelGuess]
"""A method sees an Observation and nothing else, so it cannot look at the truth."""

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
        InputError: no such method.
    """
    return declared(name).factory(alpha=alpha)


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
