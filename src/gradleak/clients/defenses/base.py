"""The interface of defenses, defenses by name, and how a client applies several."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from gradleak import global_draws
from gradleak.clients.observation import HEAD, Observation, sent_names, trainable
from gradleak.errors import InputError
from gradleak.plan import catalogue, plugins
from gradleak.plan.jobs.options import canonical_defense, defense_parts
from gradleak.victims.head import head_of
from gradleak.victims.models.check import unchanged

Gradients = dict[str, Tensor]


@dataclass(frozen=True)
class DefenseContext:
    """What only the client has when it defends its gradient.

    Attributes:
        generator: source of all noise, seeded by the caller, so that equal seeds give equal noise.
        model: the model that the server sent.
        chunks: returns the client's batch anew on each call, as pairs (images [n, channels, height, width],
            labels [n] int64), as :func:`gradleak.clients.observation.observe_head` takes them. Only Soteria calls it.
    """

    generator: torch.Generator
    model: nn.Module
    chunks: Callable[[], Iterable[tuple[Tensor, Tensor]]]


Defense = Callable[[Gradients, DefenseContext], Gradients]
"""Takes gradients by parameter name and returns what the client sends instead; changes none in place.

A gradient that it leaves out is withheld. The others keep shape, type and device. It gets whatever the client has and
earlier defenses have left: any name may be missing.
"""


def build(name: str) -> Defense:
    """Return the defense with a name such as ``dp-0.01``, see :func:`gradleak.plan.jobs.options.canonical_defense`.

    Raises:
        InputError: an unknown kind, or a strength outside its range.
    """
    try:
        kind, strength = defense_parts(canonical_defense(name))
    except ValueError as error:
        raise InputError(str(error)) from error
    with plugins.guarded("defenses", kind, f"defense {name}"):
        made: object = catalogue.load("defenses", kind)(strength)
    if not callable(made):
        raise InputError(f"defense {name}: its factory returns {_kind(made)}; return a function of the gradients")
    defense: Any = made
    return _guarded(name, defense) if catalogue.source_of("defenses", kind) is not None else defense


def _guarded(name: str, defense: Defense) -> Defense:
    """Wrap a plug-in's defense so that it gets copies and must draw noise from the seeded generator."""
    kind = defense_parts(canonical_defense(name))[0]

    def defend(gradients: Gradients, context: DefenseContext) -> Gradients:
        copies = {key: gradient.clone() for key, gradient in gradients.items()}
        what = f"defense {name}"
        with (
            unchanged(what, context.model),
            global_draws.refused(what, "use context.generator"),
            plugins.guarded("defenses", kind, what),
        ):
            return defense(copies, context)

    return defend


def apply(
    observation: Observation, names: Sequence[str], *, scope: Literal["head", "all"], context: DefenseContext
) -> Observation:
    """Return what the server sees of a client that defends its gradient, first defense first.

    The client sends what the last defense returns: a gradient that any of them leaves out is not in the result.

    Args:
        observation: the undefended gradient; it is not changed.
        names: names for :func:`build`; without any, the observation itself is returned.
        scope: ``head`` hides all but the last layer's gradients from the defenses, so that the joint norm of
            ``clip`` is that of the last layer, as in the released iLRG code, and the others are sent unchanged; ``all``
            gives them all gradients.
        context: what the client has.

    Raises:
        InputError: an invalid name; a defense that returns anything but gradients of the given parameters; or the
            observation lacks a gradient of the scope: ``all`` needs :func:`gradleak.clients.observation.observe_full`.
    """
    if not names:
        return observation
    _check_complete(observation, scope, context)
    in_scope = [name for name in observation.gradients if scope == "all" or name in HEAD]
    gradients = {name: observation.gradients[name] for name in in_scope}
    for name, defense in [(name, build(name)) for name in names]:
        gradients = _checked(name, gradients, defense(dict(gradients), context))
    withheld = set(in_scope) - set(gradients)
    sent = {name: gradients.get(name, g) for name, g in observation.gradients.items() if name not in withheld}
    return replace(observation, gradients=sent)


def _check_complete(observation: Observation, scope: str, context: DefenseContext) -> None:
    """Refuse an undefended observation that lacks a gradient which a client of the model would have."""
    model = observation.model
    missing = observation.lacks(name for name in trainable(model) if scope == "all" or name in HEAD)
    if missing and scope == "all":  # possibly unused parameters, which only a pass through the model shows
        images, _ = next(iter(context.chunks()))
        missing = observation.lacks(sent_names(model, images[:2].to(head_of(model).weight.device)))
    if missing:
        raise InputError(
            f"defense scope {scope}: the observation lacks gradients that the client has, for example {missing[0]}; "
            f"observe {'all parameters' if scope == 'all' else 'the whole last layer'} first"
        )


def _checked(name: str, given: Gradients, returned: object) -> Gradients:
    """Check what a defense returned, and return it in the order of its input."""
    where = f"defense {name}"
    if not isinstance(returned, Mapping):
        raise InputError(f"{where}: returned {_kind(returned)}; return a dict of gradients by parameter name")
    unknown = [key for key in returned if key not in given]
    if unknown:
        known = ", ".join(given) or "nothing"
        raise InputError(f"{where}: returned the unknown parameter {unknown[0]!r}; it was given {known}")
    for key, gradient in returned.items():
        if not isinstance(gradient, Tensor):
            advice = "return a tensor, or leave the name out to withhold the gradient"
            raise InputError(f"{where}: {key} is {_kind(gradient)}; {advice}")
        for what in ("shape", "dtype", "layout", "device"):
            wanted, actual = (getattr(tensor, what) for tensor in (given[key], gradient))
            if actual != wanted:
                wanted, actual = (list(each) if what == "shape" else each for each in (wanted, actual))
                raise InputError(f"{where}: {key} has {what} {actual}; keep that of the gradient given, {wanted}")
    return {key: returned[key].detach() for key in given if key in returned}


def _kind(value: object) -> str:
    return "None" if value is None else f"a {type(value).__name__}"


def below_percentile(values: Tensor, percent: float) -> Tensor:
    """Return where ``values`` is below its percentile, with linear interpolation (``numpy.percentile``'s default).

    The percentile lies at rank r = percent (n - 1) / 100, between two order statistics. An entry is below it
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
