"""The arrangement of settings over batch size and depth."""

import pytest
from tests.cells import columns

from gradleak.report.tables.batch_size_and_depth import blocks, depth


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("fcn", ("FCN", 1)),
        ("fcn-n_hidden=0", ("FCN", 0)),
        ("vgg16", ("VGG", 16)),
        ("vgg16-dropout", ("VGG-dropout", 16)),
        ("resnet152", ("ResNet", 152)),
        ("lenet5", None),
        ("fcn-n_dim=10", ("FCN-n_dim=10", 1)),
        ("of-a-plug-in", None),
    ],
)
def test_depth(model, expected):
    assert depth(columns("mnist", model, 8)) == expected


def test_blocks_are_sorted_and_complete():
    settings = [columns("mnist", model, size) for model, size in (("fcn", 64), ("fcn", 8), ("vgg11", 4))]
    assert [(axis, [cell["batch_size"] for cell in group]) for axis, group in blocks(settings)] == [
        ("batch size", [8, 64]),
        ("other", [4]),
    ]
