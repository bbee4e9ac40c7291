"""The interface of data sets: labels that are free to read, and images fetched a batch at a time."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from gradleak.errors import InputError
from gradleak.plan.catalogue import DatasetFacts, source_of


@dataclass(frozen=True, eq=False)
class ImageDataset(ABC):
    """Labelled images of one size, normalised per channel.

    Subclasses say where the pixels come from in :meth:`pixels`.

    Attributes:
        name: canonical name in the catalogue.
        facts: the constants of the set, including the normalisation.
        num_classes: C. It differs from ``facts.num_classes`` only for an ImageNet folder with other classes.
        labels: [N] int64 in 0 .. C-1. Reading them never decodes an image.
    """

    name: str
    facts: DatasetFacts
    num_classes: int
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    @abstractmethod
    def pixels(self, indices: Tensor) -> Tensor:
        """Return the stored images [n, channels, height, width] uint8 at indices [n], repeats included."""

    def stored(self, indices: Tensor) -> Tensor:
        """Return the result of :meth:`pixels` after a check.

        Raises:
            IndexError: an index is outside the set.
            InputError: it has another type or shape, or an image file cannot be decoded.
        """
        pixels: object = self.pixels(indices)
        size = self.facts.image_size
        shape = (len(indices), self.facts.channels, size, size)
        if isinstance(pixels, Tensor) and pixels.dtype == torch.uint8 and tuple(pixels.shape) == shape:
            return pixels
        actual = f"{list(pixels.shape)} of {pixels.dtype}" if isinstance(pixels, Tensor) else type(pixels).__name__
        raise InputError(
            f"{place_of(self.name)}: pixels() returns {actual} for {len(indices)} images; return a tensor "
            f"{list(shape)} of uint8, from 0 (black) to 255 (white)"
        )

    def fetch(self, indices: Tensor) -> Tensor:
        """Return the normalised images of a batch: (pixel / 255 - mean) / std.

        Args:
            indices: [n] int64, positions in ``labels``; repeats are fine.

        Returns:
            [n, channels, height, width] float32 on the CPU.

        Raises:
            IndexError: an index is outside the set.
            InputError: see :meth:`stored`.
        """
        mean, std = self._channel_constants(torch.empty(0, dtype=torch.float32))
        return self.stored(indices).float().div_(255).sub_(mean).div_(std)

    def normalise(self, images: Tensor) -> Tensor:
        """Return (image - mean) / std of images on the scale where 0 is black and 1 is white.

        Args:
            images: [..., channels, height, width], floating point, on any device.
        """
        mean, std = self._channel_constants(images)
        return (images - mean) / std

    def denormalise(self, images: Tensor, *, clamp: bool = True) -> Tensor:
        """Undo the normalisation.

        Args:
            images: [..., channels, height, width], floating point, on any device.
            clamp: cut to [0, 1]. Without it, values outside the pixel range (a reconstruction may have them)
                stay visible, and the map is differentiable everywhere.

        Returns:
            The images on the scale where 0 is black and 1 is white, same shape, type and device.
        """
        mean, std = self._channel_constants(images)
        restored = images * std + mean
        return restored.clamp(0, 1) if clamp else restored

    def _channel_constants(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation [channels, 1, 1] with the type and device of a tensor."""
        mean, std = like.new_tensor(self.facts.mean), like.new_tensor(self.facts.std)
        return mean[:, None, None], std[:, None, None]


def place_of(name: str) -> str:
    """Return the name of a data set for messages, with its plug-in, if it comes from one."""
    plugin = source_of("datasets", name)
    return name if plugin is None else f"{plugin.path}: data set {name}"


def one_line(error: BaseException) -> str:
    """Return the message of a library's error on one line, for an :class:`InputError`."""
    return " ".join(str(error).split()) or type(error).__name__
