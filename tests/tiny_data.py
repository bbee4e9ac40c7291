"""Made-up folders in the formats of MNIST, CIFAR-100 and ImageNet, a few images each."""

import pickle
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torchvision.datasets.cifar
from PIL import Image

WNIDS = ["n01440764", "n01443537", "n02084071"]


def write_mnist(root: Path, train: Sequence[int] = (5, 0, 4), val: Sequence[int] = (7, 2)) -> dict[str, np.ndarray]:
    """Write random digits with these labels as idx files; return their pixels [n, 28, 28] by part."""
    folder = root / "MNIST" / "raw"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    pixels = {}
    for part, labels in (("train", train), ("t10k", val)):
        n = len(labels)
        pixels[part] = rng.integers(0, 256, (n, 28, 28), dtype=np.uint8)
        images = struct.pack(">IIII", 0x803, n, 28, 28) + pixels[part].tobytes()
        (folder / f"{part}-images-idx3-ubyte").write_bytes(images)
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">II", 0x801, n) + bytes(labels))
    return pixels


def write_cifar100(root: Path, train: Sequence[int], val: Sequence[int]) -> None:
    """Write random images with these labels as pickles, which are read under :func:`accept_any_cifar100` alone."""
    folder = root / "cifar-100-python"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for part, labels in (("train", train), ("test", val)):
        pixels = rng.integers(0, 256, (len(labels), 3 * 32 * 32), dtype=np.uint8)
        (folder / part).write_bytes(pickle.dumps({"data": pixels, "fine_labels": list(labels)}))
    (folder / "meta").write_bytes(pickle.dumps({"fine_label_names": [f"class {c}" for c in range(100)]}))


def accept_any_cifar100(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let torchvision read CIFAR-100 files whatever their MD5: it knows those of the real ones."""
    monkeypatch.setattr(torchvision.datasets.cifar, "check_integrity", lambda path, md5=None: Path(path).is_file())


def write_image(path: Path, size: tuple[int, int] = (300, 260), mode: str = "RGB", seed: int = 0) -> None:
    """Write smooth random pixels (width, height), so that JPEG and the resize keep something to compare."""
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 7, 3), dtype=np.uint8)
    Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).convert(mode).save(path)


def write_imagenet(folder: Path, split: str = "val") -> None:
    """Write two images for each of :data:`WNIDS`."""
    for seed, wnid in enumerate(WNIDS):
        for k in (1, 0):
            write_image(folder / split / wnid / f"{wnid}_{k}.JPEG", seed=2 * seed + k)
