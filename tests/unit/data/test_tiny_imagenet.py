"""Tiny-ImageNet folders: the official layout and its variants, class indices, sizes, and faults."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.tiny_data import TINY_WNIDS, write_image, write_tiny_imagenet
from torchvision import transforms

from gradleak.data.datasets import load
from gradleak.data.files import FileDataset
from gradleak.errors import InputError
from gradleak.plan.catalogue import dataset_facts


def tiny_imagenet(root: Path, split: str = "train", image_size: int | None = None) -> FileDataset:
    data = load("tiny-imagenet", split=split, root=root, image_size=image_size)
    assert isinstance(data, FileDataset)
    return data


def names(data: FileDataset) -> list[str]:
    return [Path(path).name for path in data.paths]


def test_official_layout(tmp_path: Path):
    folder = write_tiny_imagenet(tmp_path)
    train, val, whole = (tiny_imagenet(tmp_path, split) for split in ("train", "val", "all"))
    # Folders are sorted by name: wnids of the classes 0, 1 and 199 end in 0, 7 and 193.
    assert train.labels.tolist() == [0, 0, 1, 1, 199, 199]
    assert names(train)[:2] == [f"{TINY_WNIDS[0]}_{k}.JPEG" for k in (0, 1)]
    assert val.labels.tolist() == [199, 1, 0]
    assert names(val) == ["val_0.JPEG", "val_1.JPEG", "val_2.JPEG"]
    assert whole.labels.tolist() == train.labels.tolist() + val.labels.tolist()
    assert whole.paths == train.paths + val.paths
    assert whole.num_classes == 200
    assert whole.facts is dataset_facts("tiny-imagenet")
    assert tiny_imagenet(folder).paths == train.paths


def test_a_class_is_the_line_of_its_wnid_not_its_rank(tmp_path: Path):
    write_tiny_imagenet(tmp_path, classes=[150, 20])
    assert [sorted(TINY_WNIDS).index(TINY_WNIDS[c]) for c in (150, 20)] == [50, 140]
    data = tiny_imagenet(tmp_path)
    assert {Path(path).name[:9]: label for path, label in zip(data.paths, data.labels.tolist(), strict=True)} == {
        TINY_WNIDS[150]: 150,
        TINY_WNIDS[20]: 20,
    }


def test_without_wnids_a_class_is_the_rank_of_its_folder(tmp_path: Path):
    folder = write_tiny_imagenet(tmp_path, classes=[3, 1])
    (folder / "wnids.txt").unlink()
    for wnid in TINY_WNIDS:
        (folder / "train" / wnid).mkdir(exist_ok=True)
    data = tiny_imagenet(tmp_path, "all")
    ranks = [sorted(TINY_WNIDS).index(TINY_WNIDS[c]) for c in (1, 3)]
    assert data.labels.tolist() == [ranks[0], ranks[0], ranks[1], ranks[1], ranks[0], ranks[1]]


def test_sorted_validation_images_and_class_folders_without_images_folder(tmp_path: Path):
    folder = write_tiny_imagenet(tmp_path, classes=[5])
    (folder / "val" / "val_annotations.txt").unlink()
    write_image(folder / "val" / TINY_WNIDS[7] / "images" / "val_3.JPEG", (64, 64))
    write_image(folder / "val" / TINY_WNIDS[6] / "val_9.JPEG", (64, 64))
    data = tiny_imagenet(tmp_path, "val")
    assert data.labels.tolist() == [6, 7]
    assert names(data) == ["val_9.JPEG", "val_3.JPEG"]


def test_pixels_are_those_of_the_files_grey_ones_as_rgb(tmp_path: Path):
    write_tiny_imagenet(tmp_path)
    data = tiny_imagenet(tmp_path)
    pixels = data.pixels(torch.arange(6))
    assert pixels.shape == (6, 3, 64, 64)
    for image, path in zip(pixels, data.paths, strict=True):
        expected = np.asarray(Image.open(path).convert("RGB")).transpose(2, 0, 1)
        assert np.array_equal(image.numpy(), expected)
    grey = pixels[data.labels == 1]
    assert torch.equal(grey[:, 0], grey[:, 2])
    to_tensor = transforms.Compose(
        [transforms.ToTensor(), transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))]
    )
    reference = to_tensor(Image.open(data.paths[0]))
    assert isinstance(reference, torch.Tensor)
    assert torch.equal(data.fetch(torch.tensor([0]))[0], reference)


@pytest.mark.parametrize("size", [32, 64, 224])
def test_another_size(size: int, tmp_path: Path):
    write_tiny_imagenet(tmp_path)
    data = tiny_imagenet(tmp_path, image_size=size)
    assert data.facts.image_size == size
    assert data.facts.mean == dataset_facts("tiny-imagenet").mean
    images = data.fetch(torch.tensor([0, 4]))
    assert images.shape == (2, 3, size, size)
    resized = transforms.Resize(size)(Image.open(data.paths[0]))
    assert torch.equal(data.pixels(torch.tensor([0]))[0], transforms.PILToTensor()(resized))
    assert dataset_facts("tiny-imagenet").image_size == 64


@pytest.mark.parametrize("size", [0, -64])
def test_impossible_size(size: int, tmp_path: Path):
    with pytest.raises(InputError, match=f"^image_size {size}: use a number of pixels of at least 1, such as 64$"):
        tiny_imagenet(tmp_path, image_size=size)


def test_labels_are_known_without_decoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_tiny_imagenet(tmp_path)

    def no_open(path: str) -> None:
        raise AssertionError(f"decoded {path}")

    monkeypatch.setattr(Image, "open", no_open)
    assert len(tiny_imagenet(tmp_path, "all").labels) == 9


@pytest.mark.parametrize("download", [False, True])
def test_missing_folder(download: bool, tmp_path: Path):
    with pytest.raises(InputError) as error:
        load("Tiny-ImageNet", root=tmp_path, download=download)
    message = str(error.value)
    assert message.startswith(f"tiny-imagenet: no folder {tmp_path}/tiny-imagenet-200; ")
    assert message.endswith("; point --data-root to the folder that holds tiny-imagenet-200/")
    assert ("not downloaded automatically" in message) is download


def test_a_list_with_a_byte_order_mark(tmp_path: Path):
    file = write_tiny_imagenet(tmp_path) / "wnids.txt"
    file.write_text("\ufeff" + file.read_text())
    assert tiny_imagenet(tmp_path).labels.tolist() == [0, 0, 1, 1, 199, 199]


def test_pixels_of_more_than_8_bits_are_refused(tmp_path: Path):
    write_tiny_imagenet(tmp_path)
    data = tiny_imagenet(tmp_path)
    Image.fromarray(np.full((64, 64), 30_000, dtype=np.uint16)).save(data.paths[0], format="PNG")
    with pytest.raises(InputError, match="its pixels have mode I;16; it must have 8 bits per channel"):
        data.fetch(torch.tensor([0]))


def no_train(folder: Path) -> None:
    (folder / "train").rename(folder / "test")


def no_images(folder: Path) -> None:
    for path in folder.glob("train/*/images/*.JPEG"):
        path.unlink()


def unknown_class(folder: Path) -> None:
    write_image(folder / "train" / "n99999999" / "images" / "a.JPEG", (64, 64))


def short_list(folder: Path) -> None:
    (folder / "wnids.txt").write_text("\n".join(TINY_WNIDS[:150]))


def no_list(folder: Path) -> None:
    (folder / "wnids.txt").unlink()


def missing_file(folder: Path) -> None:
    (folder / "val" / "images" / "val_1.JPEG").unlink()


def cut_line(folder: Path) -> None:
    (folder / "val" / "val_annotations.txt").write_text("val_0.JPEG\n")


def list_is_a_folder(folder: Path) -> None:
    no_list(folder)
    (folder / "wnids.txt").mkdir()


def list_is_no_text(folder: Path) -> None:
    (folder / "wnids.txt").write_bytes(b"\xff\xfe\xfa")


def doubled_list(folder: Path) -> None:
    (folder / "wnids.txt").write_text("\n".join(TINY_WNIDS * 2))


def doubled_line(folder: Path) -> None:
    file = folder / "val" / "val_annotations.txt"
    file.write_text(file.read_text() + file.read_text().splitlines()[0] + "\n")


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (no_train, "no split train in .* \\(present: val\\); choose an existing split"),
        (no_images, "no JPEG or PNG files of the split train in .*/train"),
        (unknown_class, ".*/a.JPEG is of the class 'n99999999', which is not in .*/wnids.txt"),
        (short_list, ".*/wnids.txt name 150 classes; wnids.txt must name 200"),
        (no_list, "the class folders of .* name 3 classes; wnids.txt must name 200"),
        (missing_file, ".*/val_annotations.txt names val_1.JPEG, which is not in .*/val/images; extract "),
        (list_is_a_folder, "cannot read .*/wnids.txt: .*directory"),
        (list_is_no_text, "cannot read .*/wnids.txt: .*codec"),
        (doubled_list, ".*/wnids.txt names a class twice; it must name each of the 200 once"),
        (doubled_line, ".*/val_annotations.txt names val_0.JPEG twice"),
        (cut_line, ".*/val_0.JPEG is of the class '', which is not in "),
    ],
)
def test_faults_are_one_line(break_it, message: str, tmp_path: Path):
    break_it(write_tiny_imagenet(tmp_path))
    with pytest.raises(InputError, match=f"^tiny-imagenet: {message}") as error:
        tiny_imagenet(tmp_path, "all")
    assert "\n" not in str(error.value)


@pytest.mark.data
def test_full_folder():
    if "GRADLEAK_DATA" not in os.environ:
        pytest.skip("GRADLEAK_DATA is not set")
    data = load("tiny-imagenet", split="val", root=os.environ["GRADLEAK_DATA"])
    assert len(data) == 10_000
    assert torch.bincount(data.labels).tolist() == [50] * 200
    images = data.fetch(torch.arange(0, 10_000, 100))
    assert images.shape == (100, 3, 64, 64)
    assert torch.isfinite(images).all()
