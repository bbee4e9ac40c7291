"""MNIST and CIFAR-100 in full, read and downloaded by torchvision.

MNIST: LeCun, Cortes, Burges, CC BY-SA 3.0. CIFAR-100: Krizhevsky 2009, for research.
"""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from gradleak.data.arrays import ArrayDataset
from gradleak.data.base import one_line
from gradleak.errors import InputError
from gradleak.plan.catalogue import dataset_facts
from gradleak.records import filled

_PARTS = {"train": (True,), "val": (False,), "all": (True, False)}
"""Split -> values of torchvision's ``train`` flag, in order."""

_MNIST_FILES = tuple(f"{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1"))
_CIFAR100_FILES = ("train", "test", "meta")

_FETCH = "give --download (data.download: true in a configuration)"


def mnist(split: str, root: Path, download: bool) -> ArrayDataset:
    """Return MNIST from ``root/MNIST/raw``: digits [N, 1, 28, 28].

    There are 60,000 for training and 10,000 for validation.

    Raises:
        InputError: files are missing or damaged, or the download failed.
    """
    from torchvision.datasets import MNIST

    def read(train: bool) -> tuple[Tensor, Tensor]:
        part = MNIST(root, train=train)
        return part.data[:, None], part.targets

    fetch = (lambda: MNIST(root, download=True)) if download else None
    return _load("mnist", split, root, "MNIST/raw", _MNIST_FILES, fetch, read)


def cifar100(split: str, root: Path, download: bool) -> ArrayDataset:
    """Return CIFAR-100 from ``root/cifar-100-python``: images [N, 3, 32, 32] with the 100 fine labels.

    There are 50,000 for training and 10,000 for validation.

    Raises:
        InputError: files are missing or damaged, or the download failed.
    """
    from torchvision.datasets import CIFAR100

    def read(train: bool) -> tuple[Tensor, Tensor]:
        part = CIFAR100(root, train=train)
        return torch.from_numpy(part.data).permute(0, 3, 1, 2).contiguous(), torch.tensor(part.targets)

    fetch = (lambda: CIFAR100(root, download=True)) if download else None
    return _load("cifar100", split, root, "cifar-100-python", _CIFAR100_FILES, fetch, read)


def _load(
    name: str,
    split: str,
    root: Path,
    layout: str,
    files: tuple[str, ...],
    fetch: Callable[[], object] | None,
    read: Callable[[bool], tuple[Tensor, Tensor]],
) -> ArrayDataset:
    """Check that ``root/layout`` has the files (fetched first, if asked to) and join the parts of a split."""
    folder = (root / layout).absolute()
    if fetch is not None:
        try:
            with filled(root, folder):
                fetch()
        # URL, archive and file system errors alike: the message quotes the error
        except Exception as error:
            raise InputError(f"{name}: cannot download to {folder}: {one_line(error)}") from error
    missing = [file for file in files if not (folder / file).is_file()]
    if missing:
        raise InputError(
            f"{name}: no {', '.join(missing)} in {folder}; "
            f"point --data-root to the folder that holds {layout}, or {_FETCH}"
        )
    try:
        parts = [read(train) for train in _PARTS[split]]
    # A damaged file fails in torchvision with anything from RuntimeError to AssertionError
    except Exception as error:
        raise InputError(f"{name}: damaged files in {folder} ({one_line(error)}); delete them and {_FETCH}") from error
    images, labels = (torch.cat(pieces) for pieces in zip(*parts, strict=True))
    facts = dataset_facts(name)
    return ArrayDataset(name, facts, facts.num_classes, labels, images)
