"""The result of a loader is checked: an invalid data set gives one line with its name, file and what is right."""

import re
import runpy
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from tests.plugin_state import forgotten
from tests.workflow import ROOT

from gradleak.data import datasets, torchvision_sets
from gradleak.data.arrays import ArrayDataset
from gradleak.errors import InputError
from gradleak.plan import cli, plugins
from gradleak.plan.catalogue import dataset_facts

HEAD = """
from dataclasses import dataclass
import torch
from gradleak.data.arrays import ArrayDataset
from gradleak.data.base import ImageDataset
from gradleak.data.files import FileDataset
from gradleak.plan.catalogue import dataset_facts

FACTS = {"datasets": {"scans": {"num_classes": 10, "channels": 1, "image_size": 16, "mean": [0.5], "std": [0.2],
                                "sizes": {"train": 4, "val": 4}}}}

@dataclass(frozen=True, eq=False)
class Own(ImageDataset):
    made: object
    def pixels(self, indices):
        return self.made(len(indices))

def scans(split, root, download):
    facts, labels, pixels = dataset_facts("scans"), torch.arange(4), torch.zeros(4, 1, 16, 16, dtype=torch.uint8)
"""
RIGHT = 'return ArrayDataset("scans", facts, 10, labels, pixels)'


@pytest.fixture
def load(tmp_path, monkeypatch) -> Iterator[Callable[..., datasets.ImageDataset]]:
    """Load the data set of a plug-in whose loader has the given body."""
    monkeypatch.chdir(tmp_path)

    def load_(body: str, split: str = "train") -> datasets.ImageDataset:
        Path("scans.py").write_text(HEAD + "".join(f"    {line}\n" for line in body.splitlines()))
        plugins.load(["scans.py"])
        return datasets.load("scans", split=split)

    with forgotten():
        yield load_


def test_a_valid_data_set_is_loaded(load):
    assert len(load(RIGHT)) == 4


def returning(**changes: str) -> str:
    return "\n".join([*(f"{name} = {value}" for name, value in changes.items()), RIGHT])


RETURN = "return an ImageDataset, for example an ArrayDataset"
LABELS = "labels must be one tensor [images] of int64 on the CPU"
ARRAY = "it must be a tensor [4, 1, 16, 16] of uint8, an image for each label"
FACT = "pass gradleak.plan.catalogue.dataset_facts('scans')"
OWN = "return a tensor [2, 1, 16, 16] of uint8, from 0 (black) to 255 (white)"

FAULTS = {
    "nothing": ("pass", f"its loader returns NoneType; {RETURN}"),
    "a pair": ("return pixels, labels", f"its loader returns tuple; {RETURN}"),
    "no images": (returning(labels="labels[:0]", pixels="pixels[:0]"), "has no images; a split needs at least one"),
    "labels in a list": (returning(labels="[0, 1, 2, 3]"), f"labels is list; {LABELS}"),
    "labels in a column": (returning(labels="labels[:, None]"), f"labels is [4, 1] of int64; {LABELS}"),
    "labels as int32": (returning(labels="labels.int()"), f"labels is [4] of int32; {LABELS}"),
    "labels as float": (returning(labels="labels.float()"), f"labels is [4] of float32; {LABELS}"),
    "labels from 1": (returning(labels="labels + 7"), "label 10 is outside 0 to 9, the 10 classes"),
    "labels below 0": (returning(labels="labels - 1"), "label -1 is outside 0 to 9, the 10 classes"),
    "a label too few": (
        returning(labels="labels[:3]"),
        f"array is [4, 1, 16, 16] of uint8; {ARRAY.replace('[4', '[3')}",
    ),
    "pixels in [0, 1]": (returning(pixels="pixels.float() / 255"), f"array is [4, 1, 16, 16] of float32; {ARRAY}"),
    "pixels of NumPy": (returning(pixels="pixels.numpy()"), f"array is ndarray; {ARRAY}"),
    "channels last": (returning(pixels="pixels.permute(0, 2, 3, 1)"), f"array is [4, 16, 16, 1] of uint8; {ARRAY}"),
    "no channel": (returning(pixels="pixels[:, 0]"), f"array is [4, 16, 16] of uint8; {ARRAY}"),
    "another size": (returning(pixels="pixels[..., :8]"), f"array is [4, 1, 16, 8] of uint8; {ARRAY}"),
    "other facts": (returning(facts="dataset_facts('mnist')"), f"facts.image_size is 28, declared is 16; {FACT}"),
    "another mean": (
        returning(facts="facts.model_copy(update={'mean': (0.1,)})"),
        f"facts.mean is (0.1,), declared is (0.5,); {FACT}",
    ),
    "a mean too many": (
        returning(facts="facts.model_copy(update={'mean': (0.5, 0.5)})"),
        f"facts.mean is (0.5, 0.5), declared is (0.5,); {FACT}",
    ),
    "a deviation of 0": (
        returning(facts="facts.model_copy(update={'std': (0,)})"),
        f"facts.std is (0,), declared is (0.2,); {FACT}",
    ),
    "no facts": (returning(facts="{}"), f"facts is dict; {FACT}"),
    "other classes": (RIGHT.replace("10", "4"), "num_classes is 4; declared is 10"),
    "another name": (RIGHT.replace("scans", "scan"), "its name is 'scan'; give it the name 'scans'"),
    "another number of images": (
        returning(labels="labels[:2]", pixels="pixels[:2]"),
        "has 2 images; FACTS declares 4: change one of them",
    ),
    "a path too few": (
        'return FileDataset("scans", facts, 10, labels, ("a.png",))',
        "has 4 labels and 1 paths; give each image one of both",
    ),
    "a crop beyond the image": (
        'return FileDataset("scans", facts, 10, labels, ("a.png",) * 4, resize=8)',
        "resize is 8, below the 16 pixels of the crop; use at least 16",
    ),
    "float pixels of its own": (
        'return Own("scans", facts, 10, labels, lambda n: torch.zeros(n, 1, 16, 16))',
        f"pixels() returns [2, 1, 16, 16] of torch.float32 for 2 images; {OWN}",
    ),
    "pixels of its own in another shape": (
        'return Own("scans", facts, 10, labels, lambda n: torch.zeros(n, 16, 16, dtype=torch.uint8))',
        f"pixels() returns [2, 16, 16] of torch.uint8 for 2 images; {OWN}",
    ),
    "no pixels of its own": (
        'return Own("scans", facts, 10, labels, lambda n: None)',
        f"pixels() returns NoneType for 2 images; {OWN}",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_an_invalid_data_set_is_one_line(load, fault):
    body, reason = FAULTS[fault]
    with pytest.raises(InputError) as raised:
        load(body)
    message = str(raised.value)
    assert message.startswith("scans.py: data set scans")
    assert message.endswith(f": {reason}")
    assert "\n" not in message


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("raise ValueError('two\\nlines')", "ValueError: two lines"),
        ("return {}['x']", "KeyError: 'x'"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ('return Own("scans", facts, 10, labels, lambda n: 1 / 0)', "ZeroDivisionError: division by zero"),
        ("return ArrayDataset('scans', facts)", "TypeError: ArrayDataset.__init__() missing 3 required"),
    ],
)
def test_a_failing_loader_is_one_line_with_its_location(load, body, reason):
    with pytest.raises(
        InputError, match=rf"^data set scans, split train: scans\.py:\d+: {re.escape(reason)}"
    ) as raised:
        load(body)
    assert "\n" not in str(raised.value)


def test_a_missing_file_of_a_plugin_is_named(load):
    with pytest.raises(InputError, match=r"^cannot read image nowhere\.png: "):
        load('return FileDataset("scans", facts, 10, labels, ("nowhere.png",) * 4)')


def test_grey_images_may_be_files(load, tmp_path):
    from PIL import Image

    Image.new("RGB", (16, 20), (255, 255, 255)).save(tmp_path / "white.png")
    data = load('return FileDataset("scans", facts, 10, labels, ("white.png",) * 4, resize=16)')
    assert data.fetch(torch.tensor([3, 0])).unique().tolist() == pytest.approx([2.5])


def test_pixels_are_checked_on_every_fetch(load):
    """The two images checked on loading say nothing about the others."""
    right, wrong = "torch.zeros(n, 1, 16, 16, dtype=torch.uint8)", "torch.zeros(n, 1, 16, 16)"
    data = load(f'return Own("scans", facts, 10, labels, lambda n: {right} if n == 2 else {wrong})')
    with pytest.raises(InputError, match=r"^scans\.py: data set scans: pixels\(\) returns .*float32 for 3 images"):
        data.fetch(torch.tensor([0, 1, 2]))


def test_built_in_loaders_are_checked_too(monkeypatch):
    def float_pixels(split: str, root: Path, download: bool) -> ArrayDataset:
        return ArrayDataset("mnist", dataset_facts("mnist"), 10, torch.arange(3), torch.zeros(3, 1, 28, 28))

    def fails(split: str, root: Path, download: bool) -> ArrayDataset:
        raise PermissionError(13, "Permission denied", "folder")

    monkeypatch.setattr(torchvision_sets, "mnist", float_pixels)
    with pytest.raises(InputError, match=r"^mnist, split val: array is \[3, 1, 28, 28\] of float32; it must be"):
        datasets.load("mnist", split="val")
    monkeypatch.setattr(torchvision_sets, "mnist", fails)
    with pytest.raises(
        InputError, match=r"^mnist: cannot be loaded \(PermissionError: .*Permission denied: 'folder'\)$"
    ):
        datasets.load("mnist")


CHECK = str(ROOT / "workflow" / "scripts" / "check_data.py")


def check(monkeypatch: pytest.MonkeyPatch, *argv: str) -> int:
    """Run check_data.py as a program and return its exit status."""
    monkeypatch.setattr(sys, "argv", ["check_data.py", "--output", "found.json", *argv])
    try:
        runpy.run_path(CHECK, run_name="__main__")
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


@pytest.mark.parametrize("fault", ["labels from 1", "pixels in [0, 1]", "no images", "nothing"])
def test_check_data_reports_them(load, monkeypatch, capsys, fault):
    body, reason = FAULTS[fault]
    with pytest.raises(InputError):
        load(body)
    assert check(monkeypatch, "--dataset", "scans", "--modules", "scans.py", "--splits", "val,train") == 2
    error = capsys.readouterr().err
    assert error == f"check_data.py: error: scans.py: data set scans, split val: {reason}\n"
    assert not Path("found.json").exists()


def test_check_data_needs_splits(load, monkeypatch, capsys):
    assert check(monkeypatch, "--dataset", "mnist-sample", "--splits", "") == 2
    assert "--splits is empty; use one or more of train, val, all" in capsys.readouterr().err


def test_check_data_accepts_a_valid_set(load, monkeypatch):
    load(RIGHT)
    assert check(monkeypatch, "--dataset", "scans", "--modules", "scans.py") == 0
    assert Path("found.json").is_file()
    with pytest.raises(InputError, match="is a folder"):
        cli.parse(runpy.run_path(CHECK)["CheckData"], ["--dataset", "scans", "--output", "."])
