"""Ranges of metrics are declared for everything that the programs measure."""

import math

import pytest
import torch

from gradleak.metrics.images import image_metrics
from gradleak.plan.jobs.labels import RestoreLabels
from gradleak.plan.metric_facts import IMAGE_METRICS, SNAPSHOT, bounds, digits, is_psnr, label
from gradleak.report.image_rows import BEST_SIX
from gradleak.runs.labels import restore


def test_every_metric_of_labels_has_a_range_and_lies_in_it():
    spec = RestoreLabels(
        dataset="mnist-sample", model="fcn", batch_size=4, num_tries=1, methods=("ilrg", "rlg"), analysis=True
    )
    rows = restore(spec).rows
    for name in {row.metric for row in rows}:
        low, high = bounds(name)
        assert math.isfinite(low), name
        assert all(low <= row.value <= high for row in rows if row.metric == name), name


def test_every_metric_of_images_has_a_range_and_reaches_its_ends():
    names = [*IMAGE_METRICS, "lpips", BEST_SIX, SNAPSHOT, "seconds", "diverged_restarts"]
    assert all(math.isfinite(bounds(name)[0]) for name in names)
    black, white = torch.zeros(1, 1, 16, 16), torch.ones(1, 1, 16, 16)
    for pair, end in (((black, black), 1), ((black, white), 0)):
        found = image_metrics(*pair)
        assert found["psnr"].item() == bounds("psnr")[end]
        assert found["mse"].item() == bounds("mse")[1 - end]


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        ("difference_leacc", (-1.0, 1.0)),
        ("difference_ssim", (-2.0, 2.0)),
        ("difference_psnr", (-100.0, 100.0)),
        ("difference_seconds", (-math.inf, math.inf)),
        ("of_a_plugin", (-math.inf, math.inf)),
    ],
)
def test_differences_and_unknown_metrics(metric, expected):
    assert bounds(metric) == expected


def test_a_difference_in_psnr_counts_as_psnr():
    assert is_psnr("difference_psnr")
    assert not is_psnr("difference_ssim")


@pytest.mark.parametrize(
    ("metric", "written", "decimals"),
    [
        ("leacc", "LeAcc", 3),
        ("psnr", "PSNR", 2),
        (SNAPSHOT, SNAPSHOT, 2),
        ("difference_psnr", "difference_psnr", 2),
        ("seconds", "s", 1),
        ("restored_class_18", "restored_class_18", 1),
        ("of_a_plugin", "of_a_plugin", 3),
    ],
)
def test_the_format_of_a_metric(metric, written, decimals):
    assert (label(metric), digits(metric)) == (written, decimals)
