"""A part of the train split, for victims that are to know their images by heart."""

import torch
from torch import Tensor

from gradleak.data.base import ImageDataset
from gradleak.errors import InputError
from gradleak.streams import stream


def train_subset(data: ImageDataset, number: int | None) -> Tensor:
    """Return the images of the train split that are in use, [n] int64 ascending indices.

    A function of data set and number alone, so that victims of all seeds are trained on the same images and clients
    draw their batches from these. Drawn, because some sets are sorted by class; a smaller subset is part of a larger.

    Args:
        data: the train split.
        number: how many images, all if None.

    Raises:
        InputError: it has fewer.
    """
    if number is None:
        return torch.arange(len(data))
    if number > len(data):
        raise InputError(f"--train-images {number}: {data.name} has {len(data)} training images; use at most that")
    drawn = stream("train-images", data.name).permutation(len(data))[:number]
    return torch.from_numpy(drawn).sort().values
