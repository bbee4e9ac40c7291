"""From an update to a gradient: its sign, and what the client's optimiser did to it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from gradleak.audit.options import ADAPTIVE, Told
from gradleak.audit.update_files import Kind
from gradleak.errors import InputError
from gradleak.plan.names import shortest

_COARSE = (torch.float16, torch.bfloat16)

_SMALLEST = 1e-34
"""Largest entry of an update at least; its reciprocal at most."""

_APART = 0.5
"""Distance to the weights, relative to their norm, from which an update is taken for none."""

_MAJORITY = 2
"""How many times more entries of the last layer's bias must have one sign than the other to tell the update's sign."""


@dataclass(frozen=True)
class Assumption:
    """Something that the results rest on.

    Attributes:
        what: a sentence.
        source: whether the user told it, it was found out, or it is taken for granted.
    """

    what: str
    source: Literal["told", "found", "assumed"]


@dataclass(frozen=True)
class AsGradient:
    """An update read as a mean gradient, up to a positive factor.

    Attributes:
        gradients: by name; in the model's type.
        precision: coarser type in which they were sent, if there is one.
        kind: what the update was.
        signs_only: whether only their signs mean anything, because an adaptive optimiser changed their sizes.
        scale_is_rate: whether the factor contains the learning rate, which is not known.
        assumptions: about the optimiser.
    """

    gradients: dict[str, Tensor]
    precision: torch.dtype | None
    kind: Kind
    signs_only: bool
    scale_is_rate: bool
    assumptions: tuple[Assumption, ...]


def check_finite(tensors: Mapping[str, Tensor], own_names: Mapping[str, str]) -> None:
    """Refuse NaN and infinite entries, and sizes that single precision cannot hold with all digits.

    Raises:
        InputError: one line, which names the first parameter that has some.
    """
    for name, tensor in tensors.items():
        bad = int((~torch.isfinite(tensor)).sum())
        if bad:
            raise InputError(
                f"the update of {own_names[name]} has {bad} NaN or infinite entries of {tensor.numel()}; "
                "a training with such a step is lost, and nothing can be told from it"
            )
    largest = max((float(tensor.double().abs().max()) for tensor in tensors.values() if tensor.numel()), default=0.0)
    if largest and not _SMALLEST < largest < 1 / _SMALLEST:
        raise InputError(
            f"the update: its largest entry is {largest:.1g}, where single precision ends; multiply it by a constant, "
            "which attacks find out"
        )


def check_change(tensors: Mapping[str, Tensor], weights: Mapping[str, Tensor], source: str) -> None:
    """Refuse weights in place of a gradient or a change of weights: nothing would be found in them.

    Args:
        tensors: what was sent, by name; finite.
        weights: those that the server sent, by the same names.
        source: where the update comes from, for messages.

    Raises:
        InputError: the update hardly differs from the weights that it should start from.
    """
    apart = sum(float((t.double() - weights[name].double()).square().sum()) for name, t in tensors.items())
    size = sum(float(weights[name].double().square().sum()) for name in tensors)
    if apart < _APART**2 * size:
        raise InputError(
            f"{source}: holds weights, not a gradient or a change of weights; give --before and --after, or subtract "
            "the weights that the server sent"
        )


def trained(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors that are not zero throughout: a parameter that does not move was not trained, or not sent."""
    return {name: tensor for name, tensor in tensors.items() if bool(tensor.any())}


def sign_of(bias: Tensor | None, majority: int = _MAJORITY) -> Kind | None:
    """Return what an update is by that of the last layer's bias, or None if it does not tell.

    Entry c of a gradient is the mean probability of class c minus its share of the batch: positive for every class
    that the batch lacks, so that with many classes most entries are.

    Args:
        bias: [C], or None if it was not sent.
        majority: how many times more entries must have one sign than the other.
    """
    if bias is None or len(bias) < 4:
        return None
    above, below = int((bias > 0).sum()), int((bias < 0).sum())
    if above >= majority * below:
        return "gradient"
    return "delta" if below >= majority * above else None


def as_gradient(tensors: Mapping[str, Tensor], weights: Mapping[str, Tensor], kind: Kind, told: Told) -> AsGradient:
    """Read an update as a gradient, see :class:`gradleak.clients.local_training.LocalTraining` for the algebra.

    Args:
        tensors: what was sent, by name; finite.
        weights: those that the server sent, by the same names.
        kind: what was sent.
        told: what is known about the training.

    Raises:
        InputError: options that contradict one another.
    """
    types = {tensor.dtype for tensor in tensors.values()}
    precision = next((dtype for dtype in reversed(_COARSE) if dtype in types), None)
    values = {name: tensor.to(weights[name]) for name, tensor in tensors.items()}
    assumptions: list[Assumption] = []
    if precision is not None:
        name = str(precision).removeprefix("torch.")
        assumptions.append(Assumption(f"Sent as {name}; attacks account for its rounding.", "found"))
    if kind == "gradient":
        if told.optimizer in ADAPTIVE:
            assumptions.append(Assumption(f"A gradient, before {told.optimizer} acted on it.", "assumed"))
        return AsGradient(values, precision, kind, False, False, tuple(assumptions))
    if told.optimizer in ADAPTIVE:
        return _of_adaptive(values, weights, precision, told, assumptions)
    training, steps = told.training, told.local_steps
    rate = training.lr * training.update_size(steps)
    if told.lr is None:
        assumptions.append(Assumption("No weight decay, since the learning rate is not known.", "assumed"))
    else:
        decay = f", weight decay {shortest(told.weight_decay)} undone" if told.weight_decay else ", no weight decay"
        momentum = f", momentum {shortest(told.momentum)} from a velocity of 0" if told.momentum else ", no momentum"
        assumptions.append(Assumption(f"SGD with learning rate {shortest(told.lr)}{momentum}{decay}.", "told"))
    if steps > 1:
        assumptions.append(
            Assumption(
                f"{steps} steps are read as one of their mean gradient; exact inversion holds only as far as the "
                "weights hardly moved in between.",
                "assumed",
            )
        )
    else:
        assumptions.append(Assumption("One optimiser step inside the update.", "assumed"))
    gradients = {name: -moved / rate - told.weight_decay * weights[name] for name, moved in values.items()}
    return AsGradient(gradients, precision, kind, False, told.lr is None, tuple(assumptions))


def _of_adaptive(
    values: Mapping[str, Tensor],
    weights: Mapping[str, Tensor],
    precision: torch.dtype | None,
    told: Told,
    assumptions: list[Assumption],
) -> AsGradient:
    if told.weight_decay and told.optimizer != "adamw":
        raise InputError(
            f"--weight-decay with --optimizer {told.optimizer}: it goes through the optimiser's own scaling and cannot "
            "be undone; leave it out to see what the signs alone tell"
        )
    decay = told.weight_decay * told.local_steps
    gradients = {name: -moved / (told.lr or 1.0) - decay * weights[name] for name, moved in values.items()}
    what = (
        f"{told.optimizer} divides each entry by its own size, which cannot be undone: exact inversion, counts of "
        "labels and matching are left out; the signs of the last layer's bias still tell classes of the batch."
    )
    return AsGradient(gradients, precision, "delta", True, True, (*assumptions, Assumption(what, "told")))


def undecided(*, out_of_time: bool) -> InputError:
    """Return the error for an update whose sign nothing tells.

    Args:
        out_of_time: whether exact inversion could tell if it had more time.
    """
    tell = "exact inversion tell"
    more = ""
    if out_of_time:
        tell, more = "exact inversion, which ran out of time, tell", ", or give more time with --minutes"
    return InputError(
        "the update could be a gradient or a weight change: neither the signs of the last layer's bias nor "
        f"{tell}; say --update-is gradient or --update-is delta{more}"
    )
