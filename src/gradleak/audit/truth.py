"""The true batch, if the user has it."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from gradleak.audit.update_files import read_tensors
from gradleak.errors import InputError

_WHOLE = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


@dataclass(frozen=True)
class Truth:
    """A batch.

    Attributes:
        labels: [B] int64.
        images: [B, *input_shape] as the model reads them, or None.
    """

    labels: Tensor
    images: Tensor | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one image; empty if there are none."""
        return () if self.images is None else tuple(self.images.shape[1:])

    def counts(self, num_classes: int) -> Tensor:
        """Return the instances of each class, [C] int64.

        Raises:
            InputError: a class outside 0..C-1, which is named.
        """
        outside = self.labels[(self.labels < 0) | (self.labels >= num_classes)]
        if len(outside):
            raise InputError(
                f"--truth: labels hold the class {int(outside[0])}; the model's last layer has classes 0 to "
                f"{num_classes - 1}"
            )
        return torch.bincount(self.labels, minlength=num_classes)


def read_truth(path: Path) -> Truth:
    """Read a file with the entries ``labels`` [B] and, optionally, ``images`` [B, ...].

    Raises:
        InputError: it cannot be read, has no labels, or its entries do not fit together or are not finite.
    """
    entries = read_tensors(path)
    return truth_of(entries, str(path))


def truth_of(entries: dict[str, Tensor], source: str) -> Truth:
    """Check the entries of a truth.

    Raises:
        InputError: see :func:`read_truth`.
    """
    labels, images = entries.get("labels"), entries.get("images")
    if labels is None:
        raise InputError(f"{source}: has no entry labels; a truth has labels [B] and images [B, ...]")
    if labels.ndim != 1 or labels.dtype not in _WHOLE or not len(labels):
        raise InputError(f"{source}: labels are {list(labels.shape)} of {labels.dtype}; they must be whole numbers [B]")
    if images is not None and (len(images) != len(labels) or not images.is_floating_point()):
        raise InputError(
            f"{source}: images are {list(images.shape)} of {images.dtype}; they must be floating-point numbers "
            f"[{len(labels)}, ...], as the model reads them"
        )
    if images is not None and not bool(torch.isfinite(images).all()):
        raise InputError(f"{source}: images have NaN or infinite entries")
    return Truth(labels.long().cpu(), None if images is None else images.detach().cpu())
