"""ImageNet folders: accepted locations, class indices, and when images are decoded."""

import os
from pathlib import Path

import pytest
import torch
from PIL import Image
from tests.tiny_data import WNIDS, write_image, write_imagenet
from torchvision import transforms

from gradleak.data.datasets import load
from gradleak.data.files import FileDataset
from gradleak.errors import InputError


def imagenet(root: Path, split: str = "val") -> FileDataset:
    data = load("imagenet", split=split, root=root)
    assert isinstance(data, FileDataset)
    return data


@pytest.mark.parametrize("where", ["imagenet", "ImageNet", "."])
def test_accepted_places(where: str, tmp_path: Path):
    write_imagenet(tmp_path / where)
    data = imagenet(tmp_path)
    assert data.num_classes == 3
    assert data.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert [Path(path).name for path in data.paths[:2]] == ["n01440764_0.JPEG", "n01440764_1.JPEG"]


def test_images_are_transformed_as_in_the_field(tmp_path: Path):
    write_image(tmp_path / "val" / WNIDS[0] / "wide.JPEG", (400, 300), seed=1)
    write_image(tmp_path / "val" / WNIDS[0] / "tall.png", (200, 320), seed=2)
    write_image(tmp_path / "val" / WNIDS[1] / "grey.jpg", (224, 224), mode="L", seed=3)
    write_image(tmp_path / "val" / WNIDS[1] / "print.JPG", (256, 500), mode="CMYK", seed=4)
    data = imagenet(tmp_path)
    reference = transforms.Compose(
        [
            transforms.Resize(256),
            transforms.CenterCrop(224),
            transforms.ToTensor(),
            transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )
    expected = [reference(Image.open(path).convert("RGB")) for path in data.paths]
    images = data.fetch(torch.arange(4))
    assert images.shape == (4, 3, 224, 224)
    for image, other in zip(images, expected, strict=True):
        assert isinstance(other, torch.Tensor)
        assert torch.equal(image, other)
    pixels = data.pixels(torch.arange(4)).float() / 255
    torch.testing.assert_close(data.denormalise(images), pixels, rtol=0, atol=1e-6)


def test_a_class_index_does_not_depend_on_the_split(tmp_path: Path):
    write_image(tmp_path / "train" / WNIDS[0] / "a.JPEG")
    write_image(tmp_path / "train" / WNIDS[2] / "b.JPEG")
    write_image(tmp_path / "val" / WNIDS[2] / "c.JPEG")
    write_image(tmp_path / "val" / WNIDS[1] / "d.JPEG")
    assert imagenet(tmp_path, "train").labels.tolist() == [0, 2]
    assert imagenet(tmp_path, "val").labels.tolist() == [1, 2]
    whole = imagenet(tmp_path, "all")
    assert whole.labels.tolist() == [0, 2, 1, 2]
    assert [Path(path).name for path in whole.paths] == ["a.JPEG", "b.JPEG", "d.JPEG", "c.JPEG"]
    assert whole.num_classes == 3


def test_other_files_and_folders_are_ignored(tmp_path: Path):
    write_imagenet(tmp_path)
    (tmp_path / "val" / "notes").mkdir()
    (tmp_path / "val" / "n99999999").write_text("a file, not a class")
    (tmp_path / "val" / WNIDS[0] / "README.txt").write_text("")
    assert len(imagenet(tmp_path)) == 6
    assert imagenet(tmp_path).num_classes == 3


def test_only_the_chosen_images_are_decoded_each_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_imagenet(tmp_path)
    data = imagenet(tmp_path)
    opened: list[str] = []
    real_open = Image.open

    def counting_open(path: str) -> Image.Image:
        opened.append(path)
        return real_open(path)

    monkeypatch.setattr(Image, "open", counting_open)
    assert len(data.labels) == 6
    assert opened == []
    images = data.fetch(torch.tensor([4, 1, 4]))
    assert sorted(opened) == [data.paths[1], data.paths[4]]
    assert torch.equal(images[0], images[2])
    assert not torch.equal(images[0], images[1])


def test_empty_batch(tmp_path: Path):
    write_imagenet(tmp_path)
    assert imagenet(tmp_path).fetch(torch.empty(0, dtype=torch.int64)).shape == (0, 3, 224, 224)


def test_index_outside_the_set(tmp_path: Path):
    write_imagenet(tmp_path)
    with pytest.raises(IndexError):
        imagenet(tmp_path).fetch(torch.tensor([6]))


@pytest.mark.parametrize("download", [False, True])
def test_missing_folder(download: bool, tmp_path: Path):
    with pytest.raises(InputError) as error:
        load("imagenet", root=tmp_path, download=download)
    message = str(error.value)
    assert message.startswith(
        f"imagenet: no train or val folder in any of {tmp_path}/imagenet, {tmp_path}/ImageNet, {tmp_path}"
    )
    assert message.endswith("point --data-root to the folder that holds imagenet/<split>/<wnid>/*.JPEG")
    assert ("--download cannot fetch ImageNet" in message) is download


@pytest.mark.parametrize("split", ["train", "all"])
def test_missing_split(split: str, tmp_path: Path):
    write_imagenet(tmp_path / "imagenet")
    with pytest.raises(InputError, match=r"^imagenet: no split train in .*/imagenet \(present: val\); choose "):
        imagenet(tmp_path, split)


def test_flat_folder(tmp_path: Path):
    write_image(tmp_path / "val" / "ILSVRC2012_val_00000001.JPEG")
    with pytest.raises(InputError, match=r"^imagenet: no class folders such as n01440764 in .*/val; sort "):
        imagenet(tmp_path)


def test_class_folders_without_images(tmp_path: Path):
    (tmp_path / "val" / WNIDS[0]).mkdir(parents=True)
    with pytest.raises(InputError, match=r"^imagenet: the class folders of split val in .* have no JPEG or PNG"):
        imagenet(tmp_path)


@pytest.mark.parametrize("kept", [0, 10, 600])
def test_damaged_image(kept: int, tmp_path: Path):
    write_imagenet(tmp_path)
    data = imagenet(tmp_path)
    path = Path(data.paths[2])
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(InputError) as error:
        data.fetch(torch.arange(6))
    assert str(error.value).startswith(f"cannot read image {path}: ")
    assert str(error.value).endswith("; replace or remove the file")
    assert "\n" not in str(error.value)


@pytest.mark.data
def test_full_folder():
    if "GRADLEAK_DATA" not in os.environ:
        pytest.skip("GRADLEAK_DATA is not set")
    data = load("imagenet", split="val", root=os.environ["GRADLEAK_DATA"])
    assert data.num_classes == 1000
    assert data.labels.unique().tolist() == list(range(1000))
    images = data.fetch(torch.arange(0, len(data), len(data) // 8)[:8])
    assert images.shape == (8, 3, 224, 224)
    assert torch.isfinite(images).all()
