"""Data sets by name: a loader (split, root, download) -> :class:`ImageDataset` is an entry of the catalogue."""

from dataclasses import replace
from functools import partial
from pathlib import Path

from gradleak.data.base import ImageDataset
from gradleak.data.checks import checked
from gradleak.data.files import FileDataset
from gradleak.errors import InputError
from gradleak.plan import catalogue

__all__ = ["SPLITS", "ImageDataset", "load"]

SPLITS = ("train", "val", "all")
"""``all`` is train followed by val. Packaged samples have the same images in every split."""


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
        name: a name of the catalogue or a documented spelling of it (``MNIST_GRAY``, ``CIFAR100``,
            ``ImageNet``), in any case.
        split: one of :data:`SPLITS`.
        root: folder of the full sets; packaged samples do not need it.
        download: download MNIST or CIFAR-100 into ``root`` if it is missing.
        image_size: height and width in pixels that the images are resized to, the set's own by default; only
            Tiny-ImageNet takes another. ``facts.image_size`` of the data set is then this size.

    Raises:
        InputError: the name or the split is unknown, the set cannot have that size, files are missing or damaged,
            or the download failed; or a loader fails or returns something invalid, see
            :func:`gradleak.data.checks.checked`.
    """
    key = catalogue.spelt("datasets", name)
    facts = catalogue.dataset_facts(key, image_size)
    if split not in SPLITS:
        raise InputError(f"unknown split {split!r}; known: {', '.join(SPLITS)}")
    loader = catalogue.load("datasets", key)
    data = checked(key, split, partial(loader, split, Path(root).expanduser(), download))
    if data.facts.image_size == facts.image_size:
        return data
    assert isinstance(data, FileDataset)  # the resizable sets are
    return replace(data, facts=facts, resize=facts.image_size)
