"""MNIST on tiny files in its format; CIFAR-100, whose files torchvision checks by MD5, on the full set."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision.datasets
from tests.tiny_data import write_mnist

from gradleak import records
from gradleak.data.datasets import load
from gradleak.errors import InputError

LABELS = {"train": [5, 0, 4], "t10k": [7, 2]}


def full_data() -> Path:
    if "GRADLEAK_DATA" not in os.environ:
        pytest.skip("GRADLEAK_DATA is not set")
    return Path(os.environ["GRADLEAK_DATA"])


@pytest.mark.parametrize(("split", "parts"), [("train", ["train"]), ("val", ["t10k"]), ("all", ["train", "t10k"])])
def test_mnist_splits(split: str, parts: list[str], tmp_path: Path):
    pixels = write_mnist(tmp_path, LABELS["train"], LABELS["t10k"])
    data = load("mnist", split=split, root=tmp_path)
    assert data.labels.tolist() == [label for part in parts for label in LABELS[part]]
    assert data.labels.dtype == torch.int64
    expected = np.concatenate([pixels[part] for part in parts])[:, None]
    assert np.array_equal(data.pixels(torch.arange(len(data))).numpy(), expected)
    images = data.fetch(torch.tensor([1, 0]))
    assert images.shape == (2, 1, 28, 28)
    restored = (data.denormalise(images) * 255).round().to(torch.uint8)
    assert np.array_equal(restored.numpy(), expected[[1, 0]])


def test_download_finds_the_files_there(tmp_path: Path):
    write_mnist(tmp_path)
    assert len(load("mnist", root=tmp_path, download=True)) == 3


def test_mnist_missing(tmp_path: Path):
    with pytest.raises(InputError) as error:
        load("mnist", root=tmp_path)
    assert str(error.value) == (
        "mnist: no train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte, "
        f"t10k-labels-idx1-ubyte in {tmp_path}/MNIST/raw; "
        "point --data-root to the folder that holds MNIST/raw, or "
        "give --download (data.download: true in a configuration)"
    )


def test_mnist_one_file_missing(tmp_path: Path):
    write_mnist(tmp_path)
    (tmp_path / "MNIST" / "raw" / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(InputError, match=r"^mnist: no t10k-labels-idx1-ubyte in "):
        load("mnist", root=tmp_path)


@pytest.mark.parametrize("kept", [0, 3, 50])
def test_mnist_damaged(kept: int, tmp_path: Path):
    write_mnist(tmp_path)
    path = tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(InputError) as error:
        load("mnist", root=tmp_path)
    message = str(error.value)
    assert message.startswith(f"mnist: damaged files in {tmp_path}/MNIST/raw (")
    assert message.endswith("); delete them and give --download (data.download: true in a configuration)")
    assert "\n" not in message


def test_cifar100_missing(tmp_path: Path):
    with pytest.raises(InputError) as error:
        load("cifar100", root=tmp_path)
    assert str(error.value) == (
        f"cifar100: no train, test, meta in {tmp_path}/cifar-100-python; "
        "point --data-root to the folder that holds cifar-100-python, or "
        "give --download (data.download: true in a configuration)"
    )


def test_cifar100_damaged(tmp_path: Path):
    folder = tmp_path / "cifar-100-python"
    folder.mkdir()
    for file in ("train", "test", "meta"):
        (folder / file).write_bytes(b"not a pickle")
    with pytest.raises(
        InputError,
        match=r"^cifar100: damaged files in .*; delete them and give --download \(data.download: true in a config",
    ):
        load("cifar100", root=tmp_path)


@pytest.mark.parametrize(("name", "cls"), [("mnist", "MNIST"), ("cifar100", "CIFAR100")])
def test_failed_download(name: str, cls: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(self: object) -> None:
        raise OSError("no route\nto host")

    monkeypatch.setattr(getattr(torchvision.datasets, cls), "download", refuse)
    with pytest.raises(InputError, match=rf"^{name}: cannot download to {tmp_path}/.*: no route to host$"):
        load(name, root=tmp_path, download=True)


@pytest.mark.parametrize("name", ["MNIST/raw/train-images-idx3-ubyte.gz", "archive.tar.gz"])
def test_what_an_interrupted_download_leaves_is_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str):
    """A program that says "nothing was written" must not leave half a download."""

    def interrupt(self: object) -> None:
        (tmp_path / name).write_bytes(b"half")
        raise KeyboardInterrupt

    (tmp_path / "MNIST" / "raw").mkdir(parents=True)
    (tmp_path / "MNIST" / "raw" / "earlier").touch()
    monkeypatch.setattr(torchvision.datasets.MNIST, "download", interrupt)
    monkeypatch.setattr(records, "WRITTEN", [])
    with pytest.raises(KeyboardInterrupt):
        load("mnist", root=tmp_path, download=True)
    assert [tmp_path / name] == records.WRITTEN


@pytest.mark.data
@pytest.mark.parametrize("name", ["mnist", "cifar100"])
def test_full_sets(name: str):
    root = full_data()
    for split in ("train", "val", "all"):
        data = load(name, split=split, root=root)
        assert len(data) == data.facts.sizes[split]
        assert set(torch.bincount(data.labels, minlength=data.num_classes).gt(0).tolist()) == {True}
        if split == "train":  # the constants of the normalisation match the training split
            images = data.fetch(torch.arange(0, len(data), 7))
            assert torch.allclose(images.mean(dim=(0, 2, 3)), torch.zeros(data.facts.channels), atol=0.02)
            assert torch.allclose(images.std(dim=(0, 2, 3)), torch.ones(data.facts.channels), atol=0.02)


@pytest.mark.data
def test_cifar100_images_are_upright():
    """Bytes, channels and axes agree with torchvision's own image."""
    root = full_data()
    data, theirs = load("cifar100", split="val", root=root), torchvision.datasets.CIFAR100(root, train=False)
    image, label = theirs[11]
    assert int(data.labels[11]) == label
    assert np.array_equal(data.pixels(torch.tensor([11]))[0].permute(1, 2, 0).numpy(), np.asarray(image))


@pytest.mark.data
def test_samples_are_images_of_the_full_sets():
    """Every packaged MNIST digit and CIFAR-100 image occurs in the full set, with the same label."""
    root = full_data()
    for name in ("mnist", "cifar100"):
        full, sample = load(name, split="all", root=root), load(f"{name}-sample")
        known: dict[bytes, int] = {}
        for image, label in zip(full.pixels(torch.arange(len(full))).numpy(), full.labels.tolist(), strict=True):
            known[image.tobytes()] = label
        images = sample.pixels(torch.arange(len(sample))).numpy()
        assert [known.get(image.tobytes()) for image in images] == sample.labels.tolist()
