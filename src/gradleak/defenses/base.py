"""What a defense takes and gives, the registry that names it, and how a client applies several."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from gradleak.errors import InputError
from gradleak.models.base import Victim
from gradleak.observe import Observation
from gradleak.options import canonical_defense, defense_parts

Gradients = dict[str, Tensor]

HEAD = ("head.weight", "head.bias")
"""The gradients that the scope ``head`` sees and changes."""


@dataclass(frozen=True)
class DefenseContext:
    """What only the client has when it defends its gradient.

    Attributes:
        generator: source of all noise; the caller seeds it, so equal seeds give equal noise.
        model: the model that the server sent.
        chunks: returns the client's batch anew on each call, as pairs (images [n, channels, height, width],
            labels [n] int64), as :func:`gradleak.observe.observe_head` takes them. Only Soteria calls it.
    """

    generator: torch.Generator
    model: Victim
    chunks: Callable[[], Iterable[tuple[Tensor, Tensor]]]


Defense = Callable[[Gradients, DefenseContext], Gradients]
"""Takes gradients by parameter name and returns new ones of the same names, shapes and types; changes none in place."""

_DEFENSES: dict[str, Callable[[float], Defense]] = {}


def register(kind: str) -> Callable[[Callable[[float], Defense]], Callable[[float], Defense]]:
    """Register a factory ``factory(strength) -> Defense`` under ``kind``, which must be new."""

    def add(factory: Callable[[float], Defense]) -> Callable[[float], Defense]:
        if kind in _DEFENSES:
            raise ValueError(f"defense {kind!r} is registered twice")
        _DEFENSES[kind] = factory
        return factory

    return add


def names() -> list[str]:
    """Kinds of all registered defenses, sorted."""
    return sorted(_DEFENSES)


def build(name: str) -> Defense:
    """Return the defense of a name such as ``dp-0.01``, see :func:`gradleak.options.canonical_defense`.

    Only defenses whose module was imported are known; :mod:`gradleak.defenses.all` imports every one.

    Raises:
        InputError: an unknown kind, or a strength outside its range.
    """
    try:
        kind, strength = defense_parts(canonical_defense(name))
    except ValueError as error:
        raise InputError(str(error)) from error
    return _DEFENSES[kind](strength)


def apply(
    observation: Observation, names: Sequence[str], *, scope: Literal["head", "all"], context: DefenseContext
) -> Observation:
    """Return what the server sees of a client that defends its gradient, first defense first.

    Args:
        observation: the undefended gradient; it is left as it is.
        names: names for :func:`build`; none returns the observation itself.
        scope: ``head`` hides all but the last layer's two gradients from the defenses, so that the joint norm of
            ``clip`` is theirs, as in the released iLRG code; ``all`` gives them the gradients of all parameters.
        context: what the client has.

    Raises:
        InputError: a bad name, or the observation lacks a gradient of the scope: ``all`` needs
            :func:`gradleak.observe.observe_full`.
    """
    if not names:
        return observation
    needed = HEAD if scope == "head" else tuple(name for name, _ in observation.model.named_parameters())
    missing = [name for name in needed if name not in observation.gradients]
    if missing:
        raise InputError(
            f"defense scope {scope} needs the gradients of {len(needed)} parameters; the observation lacks "
            f"{len(missing)} of them, for example {missing[0]}"
        )
    gradients = {name: observation.gradients[name] for name in needed}
    for defense in [build(name) for name in names]:
        gradients = defense(gradients, context)
    return replace(observation, gradients={**observation.gradients, **gradients})


def below_percentile(values: Tensor, percent: float) -> Tensor:
    """Return where ``values`` is below its percentile, with linear interpolation (``numpy.percentile``'s default).

    The percentile lies at the rank r = percent (n - 1) / 100 between two order statistics. An entry is below it
    exactly if it is below the upper one, of rank ceil(r), so one selection does, at any size (some releases of
    ``torch.quantile`` stop at 2^24 entries). NumPy selects, in linear time whatever the order; ``torch.kthvalue`` takes
    quadratic time on descending values. Entries equal to the threshold are not below it, so with ties fewer than
    ``percent`` percent may be; with n distinct values it is ceil(r), so exactly percent n / 100 where that is an
    integer (percent < 100).

    Args:
        values: any shape, n >= 1 entries, none of them NaN.
        percent: in [0, 100].

    Returns:
        Bool tensor of the same shape.
    """
    rank = math.ceil(percent * (values.numel() - 1) / 100)
    flat = values.detach().flatten().cpu().numpy()
    return values < float(np.partition(flat, rank)[rank])
