"""A part of the train split, for victims that memorise their images."""

import torch
from torch import Tensor

from gradleak.data.base import ImageDataset
from gradleak.errors import InputError
from gradleak.streams import stream


def train_subset(data: ImageDataset, number: int | None) -> Tensor:
    """Return the images of the train split to use, [n] int64 ascending indices.

    It depends only on data set and number, so that victims of all seeds are trained on the same images and clients draw
    their batches from these. They are drawn at random, because some sets are sorted by class; a smaller subset is part
    of a larger one.

    Args:
        data: the train split.
        number: number of images, all if None.

    Raises:
        InputError: the split has fewer images.
    """
    if number is None:
        return torch.arange(len(data))
    if number > len(data):
        raise InputError(f"--train-images {number}: {data.name} has {len(data)} training images; use at most that many")
    drawn = stream("train-images", data.name).permutation(len(data))[:number]
    return torch.from_numpy(drawn).sort().values
