"""Numbering of all images of a data set, to find those that two splits share."""

import torch
from torch import Tensor

from gradleak.errors import InputError
from gradleak.plan import catalogue


def image_ids(dataset: str, split: str, indices: Tensor) -> Tensor:
    """Number images across splits: those of train first, then those of val.

    A packaged sample has the same images in every split. A full set of unknown size cannot be numbered under ``all``.

    Args:
        dataset: name of the data set.
        split: train, val or all.
        indices: [n] int64, indices into the split.

    Returns:
        [n] int64.

    Raises:
        InputError: the split is ``all`` and the size of train is not known.
    """
    known = catalogue.find("datasets", dataset)
    if catalogue.is_sample(dataset) or split == "train":
        return indices
    if "train" in known.sizes:
        return indices + known.sizes["train"] if split == "val" else indices
    if split == "all":
        raise InputError(f"split all of {dataset} cannot be compared with the other splits; use split train or val")
    return indices + 2**40


def seen(prior: Tensor, clients: Tensor) -> int:
    """Return how many of the clients' images a prior was trained on."""
    return int(torch.isin(clients.unique(), prior).sum())
