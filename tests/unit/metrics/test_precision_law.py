"""The law of precision: by hand where one pixel is off, and beside what the attack achieves."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from gradleak.clients.observation import observe_full
from gradleak.metrics.precision_law import LAW_CONSTANT, predicted_psnr
from gradleak.plan.jobs.images import Reconstruct
from gradleak.runs.images import run


def small() -> tuple[nn.Sequential, torch.Tensor]:
    torch.manual_seed(1)
    layers = [nn.Linear(4, 20), nn.SiLU(), nn.Linear(20, 20), nn.SiLU(), nn.Linear(20, 3)]
    return nn.Sequential(nn.Flatten(), *layers).double(), torch.randn(1, 1, 2, 2).double()


def test_one_pixel_of_one_image_that_the_gradient_has_wrong():
    model, image = small()
    observation = observe_full(model, image, torch.tensor([2]))
    off, std = 1e-3, 0.5
    # The rows of one image's gradient are delta_i (h, 1): this is the gradient of an image whose third pixel is off.
    wrong = observation.gradients["1.weight"].clone()
    wrong[:, 2] += off * observation.gradients["1.bias"]
    seen = replace(observation, gradients={**observation.gradients, "1.weight": wrong})
    predicted = predicted_psnr(seen, image, torch.full((1, 1, 1), std))
    mse = (off * std) ** 2 / 4
    assert predicted is not None
    assert predicted.tolist() == pytest.approx([LAW_CONSTANT - 10 * math.log10(mse)], abs=0.01)


def test_a_perfect_gradient_is_at_the_cap():
    model, image = small()
    predicted = predicted_psnr(observe_full(model, image, torch.tensor([2])), image, torch.ones(1, 1, 1))
    assert predicted is not None
    assert predicted.tolist() == [100.0]


def test_it_says_nothing_where_no_linear_layer_reads_the_images():
    model = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.Flatten(), *small()[0][1:]).double()
    model[2] = nn.Linear(32, 20).double()
    image = torch.randn(1, 1, 2, 2).double()
    assert predicted_psnr(observe_full(model, image, torch.tensor([0])), image, torch.ones(1, 1, 1)) is None


def attacked(**options):
    """PSNR and predicted PSNR of each image of a batch that exact inversion attacks."""
    spec = Reconstruct(
        dataset="mnist-sample",
        model="fcn",
        num_clients=1,
        method="consistency",
        attack="consistency",
        device="cpu",
        progress=False,
        data_root=Path("none"),
        **options,
    )
    metrics = run(spec).reconstructions[0].metrics
    return metrics["psnr"], metrics["predicted_psnr"]


@pytest.mark.parametrize(("precision", "least"), [("float32", 95), ("float16", 70), ("bfloat16", 50)])
def test_the_attack_recovers_images_as_well_as_the_law_says(precision, least):
    psnr, predicted = attacked(batch_size=8, precision=precision)
    found = psnr > 40
    assert int(found.sum()) >= 7
    assert float((psnr - predicted)[found].abs().max()) < 3
    assert float(predicted[found].median()) > least


def test_images_beside_one_another_in_a_trained_victim(tmp_path):
    psnr, predicted = attacked(batch_size=40, stage="iter300", checkpoint_dir=tmp_path)
    told = (psnr < 100) & (predicted < 100) & (psnr > 40)
    assert int(told.sum()) >= 10
    assert float((psnr - predicted)[told].abs().median()) < 0.7  # 1.1 without the equations that images give
    assert bool((psnr >= 40)[predicted >= 40].all())


def test_copies_say_nothing_of_one_another():
    model, _ = small()
    images = torch.randn(4, 1, 2, 2, generator=torch.Generator().manual_seed(0)).double()
    images[1] = images[0]
    observation = observe_full(model, images, torch.tensor([2, 2, 0, 1]))
    predicted = predicted_psnr(observation, images, torch.ones(1, 1, 1))
    assert predicted is not None
    assert predicted.tolist() == [100.0] * 4
