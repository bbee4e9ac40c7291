"""Published attacks recover images."""

from dataclasses import replace

import torch
from tests.problems import HIGH, IG, LOW, C, onehot, problem
from torch import Tensor

from gradleak.attacks.images.engine import Matching, reconstruct
from gradleak.clients.client import Client
from gradleak.clients.local_training import LocalTraining
from gradleak.victims.models.base import Victim
from gradleak.victims.models.build import build


def lenet(size: int) -> Victim:
    return build("lenet", num_classes=C, channels=2, image_size=size, seed=0, activation="sigmoid")


def psnr(found: Tensor, truth: Tensor) -> Tensor:
    """Return the PSNR in dB of each image in [0, 1]."""
    error = ((found - truth) / (HIGH - LOW)).flatten(2).square().mean(2)
    return -10 * error.log10()


def test_dlg_recovers_images_and_labels():
    """Four images, each alone in its batch, from random starts, in float32, with optimised labels."""
    y = torch.tensor([[0], [1], [2], [3]])
    given, truth = problem(lenet(8).double(), y, restarts=4, known=False, size=8)
    client = Client(lenet(8), LocalTraining())
    given = replace(
        given,
        client=client,
        observed=client.send_many(truth.float(), onehot(y).float()),
        start=given.start.float(),
        label_start=given.label_start.float(),
    )
    found = reconstruct(given, Matching(iterations=10))
    assert found.images.dtype == found.loss.dtype == torch.float32
    assert torch.equal(found.labels, y)
    assert (psnr(found.images, truth) > 25).all()
    assert (found.loss < 1e-4).all()
    assert (found.loss < 1e-3 * found.trace[0].amin(1)).all()
    assert (psnr(given.start[:, 0], truth) < 15).all()  # a random image is far away


def test_ig_reduces_the_loss_within_the_box():
    y = torch.tensor([[2, 0]])
    given, truth = problem(lenet(8).double(), y, restarts=2, known=True, size=8)
    found = reconstruct(given, replace(IG, iterations=100, tv_weight=1e-4, log_every=10))
    assert (found.loss < 0.1 * found.trace[0].amin(1)).all()
    assert (psnr(found.images, truth) > psnr(given.start[:, 0].clamp(LOW, HIGH), truth) + 3).all()
    for images in (found.images, *found.snapshots.values()):
        assert (images >= LOW).all()
        assert (images <= HIGH).all()
