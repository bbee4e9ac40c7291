"""Attacks on an observation of any model, by one call each: what the library offers."""

from collections.abc import Iterable

import torch

from gradleak.attacks.exact.inversion import Inversion
from gradleak.attacks.exact.observed import see
from gradleak.attacks.labels.base import build
from gradleak.attacks.labels.guess import LabelGuess
from gradleak.clients.given import checked_batch_size
from gradleak.clients.observation import Observation
from gradleak.errors import InputError
from gradleak.plan import catalogue
from gradleak.plan.methods import method_parts
from gradleak.victims.head import head_of


@torch.inference_mode(mode=False)  # some methods differentiate
def restore_labels(observation: Observation, methods: Iterable[str] | None = None) -> dict[str, LabelGuess]:
    """Restore the labels of a batch by several methods.

    Args:
        observation: what the server sees.
        methods: names of label methods, with options that are not at their defaults (``ilrg:alpha=0.9``); by default
            all that can work with what was sent and is known.

    Returns:
        Method -> its guess.

    Raises:
        InputError: an unknown method; or a gradient, the batch size or side knowledge that a named method needs is
            missing, or a gradient is not finite.
    """
    _check(observation)
    if observation.input_shape:
        head_of(observation.model, observation.example())  # a model that was never observed is followed now
    if isinstance(methods, str):
        methods = (methods,)
    chosen = [name for name in catalogue.names("attacks") if lacks(name, observation) is None]
    if methods is not None:
        chosen = list(methods)
        for name in chosen:
            if (lacking := lacks(name, observation)) is not None:
                raise InputError(f"label method {name} needs {lacking}")
    return {name: build(name)(observation) for name in chosen}


def lacks(name: str, observation: Observation) -> str | None:
    """Return what a label method needs and does not have, in words; None if it can run.

    Args:
        name: of the method, see :func:`restore_labels`.
        observation: what the server sees.

    Raises:
        InputError: an unknown method.
    """
    try:
        facts = catalogue.find("attacks", method_parts(name)[0])
    except ValueError as error:
        raise InputError(str(error)) from error
    if lacking := observation.lacks(facts.needs):
        return f"the gradient of {' and '.join(lacking)}, which was not sent"
    if "present_classes" in facts.side and observation.side.present_classes is None:
        return "the classes that are in the batch (side.present_classes)"
    if "counts" in facts.gives and observation.batch_size is None:  # counts are the mean gradient times B
        return "the batch size (batch_size)"
    return None


@torch.inference_mode(mode=False)  # the search differentiates
def invert(observation: Observation, batch_size: int | None = None) -> Inversion:
    """Find every image of a batch by itself, with its label, from the gradients of the linear layers at a model's end.

    Args:
        observation: what the server sees.
        batch_size: B; that of the observation by default. If both are None, it is found where the images tell.

    Returns:
        The inputs of the first of these layers: the images themselves if it reads the model's input, flattened.

    Raises:
        InputError: the model does not end in a linear layer, or the gradients of its weight and bias were not sent or
            are not finite.
    """
    _check(observation)
    size = checked_batch_size(batch_size)
    return see(observation).invert(observation.batch_size if size is None else size)


def _check(observation: object) -> None:
    if not isinstance(observation, Observation):
        kind = type(observation).__name__
        raise InputError(f"observation: is a {kind}; make one from a client's gradients with gradleak.observation_of")
