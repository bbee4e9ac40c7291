"""Training batches: the order of the images, and their path from bytes to the device."""

from collections.abc import Iterator

import torch
from torch import Tensor

from gradleak.data.arrays import ArrayDataset
from gradleak.data.base import ImageDataset
from gradleak.streams import stream, stream_seed

PADDING = 4
"""Black padding in pixels around an image before the random crop."""


def order(dataset: str, seed: int, epoch: int, size: int) -> Tensor:
    """Return the order of the images in an epoch [size] int64, a pure function of the arguments."""
    return torch.from_numpy(stream("training", dataset, seed, epoch).permutation(size))


def crop_and_flip(pixels: Tensor, seed: int) -> Tensor:
    """Return random crops after zero padding, half of them mirrored: the usual augmentation of CIFAR.

    Args:
        pixels: [n, channels, height, width] uint8.
        seed: seed of the crops and flips.

    Returns:
        Same shape, type and device.
    """
    n, channels, height, width = pixels.shape
    generator = torch.Generator().manual_seed(seed)
    top, left = torch.randint(0, 2 * PADDING + 1, (2, n), generator=generator)
    mirrored = torch.rand(n, generator=generator) < 0.5
    padded = torch.nn.functional.pad(pixels, [PADDING] * 4)
    columns = torch.arange(width).expand(n, width)
    columns = torch.where(mirrored[:, None], columns.flip(1), columns) + left[:, None]
    rows = torch.arange(height) + top[:, None]
    rows, columns = rows.to(pixels.device), columns.to(pixels.device)
    image = torch.arange(n, device=pixels.device)[:, None, None, None]
    channel = torch.arange(channels, device=pixels.device)[None, :, None, None]
    return padded[image, channel, rows[:, None, :, None], columns[:, None, None, :]]


class Images:
    """A data set on the device as bytes if it is in memory; else its images are read on demand.

    Args:
        data: the data set.
        device: device of the batches.
        layout: their layout in memory.
    """

    def __init__(self, data: ImageDataset, device: torch.device, layout: torch.memory_format = torch.contiguous_format):
        self._data = data
        self._layout = layout
        self._device = device
        self._array = data.array.to(device) if isinstance(data, ArrayDataset) else None
        self._labels = data.labels.to(device)
        self._mean = torch.tensor(data.facts.mean, device=device)[:, None, None]
        self._std = torch.tensor(data.facts.std, device=device)[:, None, None]

    def __len__(self) -> int:
        return len(self._data)

    def batch(self, indices: Tensor, augment: int | None = None) -> tuple[Tensor, Tensor]:
        """Return a batch of normalised images [n, channels, height, width] float32 and labels [n] int64.

        Args:
            indices: [n] int64 on the CPU.
            augment: seed of the crops and flips; None for no augmentation.
        """
        there = indices.to(self._device)
        pixels = self._data.stored(indices).to(self._device) if self._array is None else self._array[there]
        if augment is not None:
            pixels = crop_and_flip(pixels, augment)
        images = pixels.float().div_(255).sub_(self._mean).div_(self._std)
        return images.contiguous(memory_format=self._layout), self._labels[there]

    def in_order(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield all images once, ``size`` at a time."""
        for indices in torch.arange(len(self)).split(size):
            yield self.batch(indices)


def step_seed(purpose: str, seed: int, step: int) -> int:
    """Return the seed of a training step's draws, so that a resumed training draws the same."""
    return stream_seed("training", purpose, seed, step)
