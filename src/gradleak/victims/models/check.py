"""Whether a model that a plug-in made is a victim as the attacks take one."""

import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from gradleak.errors import InputError
from gradleak.victims.models.base import Victim

T = TypeVar("T")

_NOT_THEIRS = {Path(torch.__file__).parent, Path(__file__).parent}
"""Where code is that a plug-in merely calls, or that calls it."""


def attempt(name: str, what: str, work: Callable[[], T]) -> T:
    """Run code of a plug-in; what it raises becomes one line with the place.

    Raises:
        InputError: it fails.
    """
    try:
        return work()
    except InputError:
        raise
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        theirs = [frame for frame in frames if _NOT_THEIRS.isdisjoint(Path(frame.filename).parents)]
        place = f" at {theirs[-1].filename}:{theirs[-1].lineno}" if theirs else ""
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise InputError(f"model {name}: {what} fails{place}: {reason}") from error


def check_victim(name: str, model: object, *, num_classes: int, channels: int, image_size: int) -> None:
    """Check the head of a model, and its features with one pass of two blank images; it is left in eval mode.

    Args:
        name: of the model, for messages.
        model: what its builder returned.
        num_classes: C.
        channels: colour channels of an image.
        image_size: height and width in pixels.

    Raises:
        InputError: it is no :class:`Victim`, has no linear head with C outputs, or features that are not
            [n, head.in_features]; one line.
    """
    where = f"model {name}"
    if not isinstance(model, Victim):
        raise InputError(
            f"{where}: its builder returns a {type(model).__name__}; return a gradleak.victims.models.base.Victim"
        )
    head = getattr(model, "head", None)
    if head is None:
        raise InputError(f"{where}: has no head; set self.head to its last layer, an nn.Linear")
    if not isinstance(head, nn.Linear):
        raise InputError(f"{where}: its head is a {type(head).__name__}; use an nn.Linear, with the rest in features()")
    if head.out_features != num_classes:
        raise InputError(f"{where}: its head has {head.out_features} outputs; the data set has {num_classes} classes")
    model.eval()
    shape = (2, channels, image_size, image_size)
    with torch.no_grad():
        found: object = attempt(name, f"features() of images {list(shape)}", lambda: model.features(torch.zeros(shape)))
    if not isinstance(found, Tensor):
        raise InputError(f"{where}: its features are a {type(found).__name__}; return a tensor [n, {head.in_features}]")
    if found.shape != (2, head.in_features):
        raise InputError(
            f"{where}: its features of 2 images have shape {list(found.shape)}; its head reads [2, {head.in_features}]"
        )
