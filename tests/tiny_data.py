"""Made-up folders in the formats of MNIST, CIFAR-100, ImageNet and Tiny-ImageNet, a few images each."""

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
    """Write random images with these labels as pickles, which only :func:`accept_any_cifar100` makes readable."""
    folder = root / "cifar-100-python"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for part, labels in (("train", train), ("test", val)):
        pixels = rng.integers(0, 256, (len(labels), 3 * 32 * 32), dtype=np.uint8)
        (folder / part).write_bytes(pickle.dumps({"data": pixels, "fine_labels": list(labels)}))
    (folder / "meta").write_bytes(pickle.dumps({"fine_label_names": [f"class {c}" for c in range(100)]}))


def accept_any_cifar100(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let torchvision read CIFAR-100 files with any MD5 sum."""
    monkeypatch.setattr(torchvision.datasets.cifar, "check_integrity", lambda path, md5=None: Path(path).is_file())


def write_image(path: Path, size: tuple[int, int] = (300, 260), mode: str = "RGB", seed: int = 0) -> None:
    """Write smooth random pixels (width, height), which survive JPEG and resizing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 7, 3), dtype=np.uint8)
    Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).convert(mode).save(path)


def write_imagenet(folder: Path, split: str = "val") -> None:
    """Write two images for each of :data:`WNIDS`."""
    for seed, wnid in enumerate(WNIDS):
        for k in (1, 0):
            write_image(folder / split / wnid / f"{wnid}_{k}.JPEG", seed=2 * seed + k)


TINY_WNIDS = [f"n{10_000_000 + 7 * k % 200:08d}" for k in range(200)]
"""The lines of a ``wnids.txt``: not in sorted order, as in the official one."""


def write_tiny_imagenet(root: Path, classes: Sequence[int] = (0, 1, 199)) -> Path:
    """Write two training images and one validation image of each of these classes; return the folder."""
    folder = root / "tiny-imagenet-200"
    folder.mkdir(parents=True)
    (folder / "wnids.txt").write_text("\n".join(TINY_WNIDS) + "\n")
    annotations = ""
    for number, c in enumerate(reversed(classes)):
        wnid = TINY_WNIDS[c]
        for k in (1, 0):
            path = folder / "train" / wnid / "images" / f"{wnid}_{k}.JPEG"
            write_image(path, (64, 64), mode="L" if c == 1 else "RGB", seed=2 * c + k)
        write_image(folder / "val" / "images" / f"val_{number}.JPEG", (64, 64), seed=1000 + c)
        annotations += f"val_{number}.JPEG\t{wnid}\t0\t32\t44\t62\n"
    (folder / "val" / "val_annotations.txt").write_text(annotations)
    return folder
