"""What a label-restoration method takes and gives, and the registry that names it."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from gradleak.errors import InputError
from gradleak.observe import Observation


@dataclass(frozen=True)
class LabelGuess:
    """What a method says about a batch of B images from C classes.

    Attributes:
        presence: [C] bool, whether the class is believed to be in the batch.
        counts: [C] int64, believed number of instances per class by plain rounding, as published; None for methods
            that only restore presence. Need not sum to B.
        assignable_counts: [C] int64, non-negative and summing to B (largest remainder); what image reconstruction
            assigns as labels. None where counts is None.
        embeddings: [C, d] float64, the recovered mean embedding of each class, if the method recovers one.
        probabilities: [C, C] float64, row c is the recovered mean softmax output of class c, if recovered.
    """

    presence: Tensor
    counts: Tensor | None = None
    assignable_counts: Tensor | None = None
    embeddings: Tensor | None = None
    probabilities: Tensor | None = None


LabelMethod = Callable[[Observation], LabelGuess]
"""A method sees an Observation and nothing else, so it cannot look at the truth."""

_METHODS: dict[str, Callable[..., LabelMethod]] = {}


def register(name: str) -> Callable[[Callable[..., LabelMethod]], Callable[..., LabelMethod]]:
    """Register a factory ``factory(alpha: float) -> LabelMethod`` under ``name``; a name is never overwritten."""

    def add(factory: Callable[..., LabelMethod]) -> Callable[..., LabelMethod]:
        if name in _METHODS:
            raise ValueError(f"label method {name!r} is registered twice")
        _METHODS[name] = factory
        return factory

    return add


def build(name: str, *, alpha: float = 1.0) -> LabelMethod:
    """Return the method registered under ``name``.

    Args:
        name: a registered name, see :func:`names`.
        alpha: factor on the recovered logits before the softmax; only the iLRG family uses it.

    Raises:
        InputError: no such method.
    """
    if name not in _METHODS:
        raise InputError(f"unknown label method {name!r}; known: {', '.join(names())}")
    return _METHODS[name](alpha=alpha)


def names() -> list[str]:
    """Names of all registered methods, sorted."""
    return sorted(_METHODS)
