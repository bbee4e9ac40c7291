"""Label methods by name, and the gradients that they read."""

from functools import partial

import torch
from torch import Tensor

from gradleak.attacks.labels.foreign import foreign
from gradleak.attacks.labels.guess import LabelGuess, LabelMethod
from gradleak.clients.observation import Observation
from gradleak.errors import InputError
from gradleak.plan import catalogue
from gradleak.plan.methods import method_parts

__all__ = ["LabelGuess", "LabelMethod", "build", "head_gradient"]


def build(name: str) -> LabelMethod:
    """Return a method of the catalogue with its options set.

    Args:
        name: its kind, with the options that are not at their defaults, e.g. ``ilrg:alpha=0.9``.

    Raises:
        InputError: an unknown method or option.
    """
    try:
        kind, options = method_parts(name)
    except ValueError as error:
        raise InputError(str(error)) from error
    method = partial(catalogue.load("attacks", kind), **options)
    return foreign(kind, method) if catalogue.source_of("attacks", kind) is not None else method


def head_gradient(observation: Observation, name: str) -> Tensor:
    """Return a gradient of the last layer on the CPU, in its own type, after a check.

    Args:
        observation: what the server sees.
        name: ``head.weight`` for dL/dW [C, d] or ``head.bias`` for dL/db [C].

    Raises:
        InputError: the gradient is missing or not finite.
    """
    if name not in observation.gradients:
        raise InputError(f"label restoration needs the gradient of {name}, which the observation does not have")
    gradient = observation.gradients[name].detach().cpu()
    bad = int((~torch.isfinite(gradient)).sum())
    if bad:
        raise InputError(
            f"the gradient of {name} has {bad} NaN or infinite entries of {gradient.numel()}; "
            "labels can only be restored from finite gradients"
        )
    return gradient
