"""Data sets by name.

To add one, write a loader (split, root, download) -> :class:`ImageDataset` in a file of this folder, name it
in :data:`LOADERS`, and state its constants in :data:`gradleak.plan.catalogue.DATASETS`. A plug-in uses
:func:`register`.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from gradleak.data.base import ImageDataset
from gradleak.data.checks import checked
from gradleak.data.files import FileDataset
from gradleak.data.imagenet import imagenet
from gradleak.data.samples import cifar100_sample, imagenet_sample, mnist_sample
from gradleak.data.tiny_imagenet import tiny_imagenet
from gradleak.data.torchvision_sets import cifar100, mnist
from gradleak.errors import InputError
from gradleak.plan.catalogue import DATASET_SPELLINGS, dataset_facts

__all__ = ["LOADERS", "SPLITS", "ImageDataset", "Loader", "load", "register"]

SPLITS = ("train", "val", "all")
"""``all`` is train followed by val. Packaged samples are the same images under every name."""

Loader = Callable[[str, Path, bool], ImageDataset]

LOADERS: dict[str, Loader] = {
    "mnist": mnist,
    "cifar100": cifar100,
    "imagenet": imagenet,
    "tiny-imagenet": tiny_imagenet,
    "mnist-sample": mnist_sample,
    "cifar100-sample": cifar100_sample,
    "imagenet-sample": imagenet_sample,
}
"""Name -> loader(split, root, download)."""


def register(name: str) -> Callable[[Loader], Loader]:
    """Register a ``loader(split, root, download)`` under ``name``, which must be new."""

    def add(loader: Loader) -> Loader:
        if name in LOADERS:
            raise ValueError(f"data set {name!r} is registered twice")
        LOADERS[name] = loader
        return loader

    return add


def load(
    name: str,
    *,
    split: str = "train",
    root: str | Path = "data",
    download: bool = False,
    image_size: int | None = None,
) -> ImageDataset:
    """Return a data set.

    Args:
        name: a name of :data:`LOADERS` or a documented spelling of it (``MNIST_GRAY``, ``CIFAR100``,
            ``ImageNet``), in any case.
        split: one of :data:`SPLITS`.
        root: folder of the full sets; the packaged samples do not look there.
        download: fetch MNIST or CIFAR-100 into ``root`` if it is not there.
        image_size: height and width in pixels that the images are resized to, the set's own by default; only
            Tiny-ImageNet takes another. ``facts.image_size`` of the data set is then this size.

    Raises:
        InputError: the name or the split is unknown, the set cannot have that size, files are missing or damaged,
            or the download failed; or a loader fails or returns what it must not, see
            :func:`gradleak.data.checks.checked`.
    """
    key = name.lower()
    key = DATASET_SPELLINGS.get(key, key)
    facts = dataset_facts(key, image_size)
    if split not in SPLITS:
        raise InputError(f"unknown split {split!r}; known: {', '.join(SPLITS)}")
    data = checked(key, split, partial(LOADERS[key], split, Path(root).expanduser(), download))
    if data.facts.image_size == facts.image_size:
        return data
    assert isinstance(data, FileDataset)  # the resizable sets are
    return replace(data, facts=facts, resize=facts.image_size)
