"""Label methods of plug-ins: they get copies, and their guesses are checked."""

from dataclasses import replace

import torch
from torch import Tensor

from gradleak import global_draws
from gradleak.attacks.labels.guess import LabelGuess, LabelMethod
from gradleak.clients.observation import Observation
from gradleak.errors import InputError
from gradleak.plan import plugins
from gradleak.victims.head import head_of
from gradleak.victims.models.check import unchanged


def foreign(name: str, method: LabelMethod) -> LabelMethod:
    """Wrap a plug-in's method so that it cannot change what others see and its guesses are valid.

    Args:
        name: name of the method.
        method: the plug-in's function.

    Raises:
        InputError: raised on the call: it fails, changes the model, or does not return a valid guess.
    """
    what = f"attack {name}"

    def restore(observation: Observation) -> LabelGuess:
        copies = {key: gradient.clone() for key, gradient in observation.gradients.items()}
        with (
            unchanged(what, observation.model),
            global_draws.refused(what),
            plugins.guarded("attacks", name, what),
        ):
            guess = method(replace(observation, gradients=copies))
        fault = _fault(guess, observation)
        if fault:
            raise InputError(f"{what}: {fault}")
        return guess

    return restore


def _fault(guess: object, observation: Observation) -> str | None:
    """Return what is wrong with a guess."""
    if not isinstance(guess, LabelGuess):
        return f"returns {type(guess).__name__}; return a LabelGuess"
    C, d = head_of(observation.model).weight.shape
    right = {
        "presence": ((C,), (torch.bool,)),
        "counts": ((C,), (torch.int64,)),
        "assignable_counts": ((C,), (torch.int64,)),
        "embeddings": ((C, d), (torch.float32, torch.float64)),
        "probabilities": ((C, C), (torch.float32, torch.float64)),
        "restricted_to": ((C,), (torch.bool,)),
        "certified": ((C,), (torch.int64,)),
    }
    for field, (shape, types) in right.items():
        value = getattr(guess, field)
        if value is None and field != "presence":
            continue
        wanted = f"a tensor {list(shape)} of {str(types[-1]).removeprefix('torch.')}"
        if not isinstance(value, Tensor):
            return f"{field} is {type(value).__name__}; it must be {wanted}"
        if tuple(value.shape) != shape or value.dtype not in types:
            return f"{field} is {list(value.shape)} of {str(value.dtype).removeprefix('torch.')}; it must be {wanted}"
        if value.dtype == torch.int64 and bool((value < 0).any()):
            return f"{field} has {int(value.min())}; counts are 0 or more"
    assigned, B = guess.assignable_counts, observation.batch_size
    if assigned is not None and B is not None and int(assigned.sum()) != B:
        return f"assignable_counts sum to {int(assigned.sum())}; they must sum to the batch size, {B}"
    return None
