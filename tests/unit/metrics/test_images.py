"""Image metrics against hand-computed values and slow NumPy references.

scikit-image 0.26 (gaussian_weights, sigma 1.5, population covariance) gives the same structural similarity to 1e-10.
"""

import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from gradleak.metrics.images import PSNR_CAP, align, feature_cosine, image_metrics, nearest_error
from gradleak.metrics.ssim import ssim
from gradleak.victims.models.base import Victim
from gradleak.victims.models.build import build


def images(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def oracle_ssim(x: np.ndarray, y: np.ndarray) -> float:
    """Structural similarity of two images [channels, h, w], window by window."""
    h, w = x.shape[1:]
    side = max(k for k in range(1, 12, 2) if k <= min(h, w))
    weights = np.array(
        [[math.exp(-((i - side // 2) ** 2 + (j - side // 2) ** 2) / 4.5) for j in range(side)] for i in range(side)]
    )
    weights /= weights.sum()
    values = []
    for a, b in zip(x, y, strict=True):
        for top, left in itertools.product(range(h - side + 1), range(w - side + 1)):
            p, q = (image[top : top + side, left : left + side] for image in (a, b))
            mp, mq = (weights * p).sum(), (weights * q).sum()
            vp, vq = (weights * (p - mp) ** 2).sum(), (weights * (q - mq) ** 2).sum()
            c = (weights * (p - mp) * (q - mq)).sum()
            values.append((2 * mp * mq + 1e-4) * (2 * c + 9e-4) / ((mp**2 + mq**2 + 1e-4) * (vp + vq + 9e-4)))
    return float(np.mean(values))


def test_certified_guesses_keep_their_place():
    """A faint copy lies between an image and a blank guess, so the smallest sum would not use the exact guess."""
    bright = torch.zeros(1, 4, 4)
    bright[:, :2] = 1.0
    truth, blank = torch.stack([bright, 0.5 * bright]), torch.zeros(1, 4, 4)
    guess = torch.stack([0.5 * bright, blank])
    assert align(truth, guess).tolist() == [0, 1]
    assert align(truth, guess, torch.tensor([True, False])).tolist() == [1, 0]


def test_mse_and_psnr_by_hand():
    truth = torch.zeros(3, 1, 16, 16)
    guess = torch.zeros(3, 1, 16, 16)
    guess[0], guess[1] = 0.1, 0.01
    guess[2, 0, 0, 0] = 1
    values = image_metrics(truth, guess)
    assert values["mse"].tolist() == pytest.approx([1e-2, 1e-4, 1 / 256])
    assert values["psnr"].tolist() == pytest.approx([20, 40, 10 * math.log10(256)])


def test_a_perfect_guess():
    truth = images(2, 3, 20, 20)
    values = image_metrics(truth, truth.clone())
    assert list(values) == ["mse", "psnr", "ssim", "recovered"]
    assert values["mse"].tolist() == [0, 0]
    assert values["psnr"].tolist() == [PSNR_CAP] * 2 == [100.0] * 2
    assert values["ssim"].tolist() == pytest.approx([1, 1], abs=1e-12)
    assert all(value.dtype == torch.float64 for value in values.values())


def test_guesses_are_clamped():
    truth = torch.ones(1, 3, 12, 12)
    values = image_metrics(truth, truth + 7)
    assert values["psnr"].item() == PSNR_CAP
    assert align(torch.stack([truth[0], truth[0] * 0.4]), torch.stack([truth[0] * 0.5, truth[0] * 9])).tolist() == [
        1,
        0,
    ]


def test_nan_stays_with_its_image():
    truth = images(3, 1, 12, 12)
    guess = truth.clone()
    guess[1, 0, 3, 3] = math.nan
    for value in image_metrics(truth, guess).values():
        assert value.isnan().tolist() == [False, True, False]


@pytest.mark.parametrize(("h", "w"), [(16, 13), (11, 11), (8, 8), (7, 9), (1, 1)])
@pytest.mark.parametrize("channels", [1, 3])
def test_ssim_window_by_window(h: int, w: int, channels: int):
    truth, guess = images(2, channels, h, w), images(2, channels, h, w, seed=1)
    guess = 0.7 * truth + 0.3 * guess
    expected = [oracle_ssim(x, y) for x, y in zip(truth.double().numpy(), guess.double().numpy(), strict=True)]
    assert ssim(truth, guess).tolist() == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("seed", range(5))
def test_alignment_is_the_best_of_all_orders(seed: int):
    truth, guess = images(5, 1, 3, 3, seed=seed), images(5, 1, 3, 3, seed=seed + 100)
    best = min(itertools.permutations(range(5)), key=lambda order: (truth - guess[list(order)]).square().sum().item())
    assert align(truth, guess).tolist() == list(best)


def test_a_shuffled_copy_is_put_in_order():
    truth = images(30, 3, 8, 8)
    shuffled = torch.randperm(30, generator=torch.Generator().manual_seed(3))
    order = align(truth, truth[shuffled])
    assert order.dtype == torch.int64
    assert torch.equal(truth[shuffled][order], truth)


def test_a_diverged_guess_does_not_affect_the_others():
    truth = images(3, 1, 4, 4)
    guess = truth.flip(0).clone()
    guess[1] = math.nan
    assert align(truth, guess).tolist() == [2, 1, 0]


def test_no_images():
    empty = torch.empty(0, 3, 8, 8)
    assert align(empty, empty).tolist() == []
    assert all(value.tolist() == [] for value in image_metrics(empty, empty).values())


@pytest.mark.parametrize("measure", [align, image_metrics])
@pytest.mark.parametrize("shape", [(2, 3, 8, 7), (1, 3, 8, 8), (3, 8, 8)])
def test_other_shapes_are_refused(measure, shape: tuple[int, ...]):
    with pytest.raises(ValueError, match=r"images of shape \[2, 3, 8, 8\] beside .* both must be"):
        measure(torch.zeros(2, 3, 8, 8), torch.zeros(shape))


def normalise(batch: Tensor) -> Tensor:
    return (batch - 0.5) / 0.25


def small_victim(name: str = "lenet5", **options) -> Victim:
    return build(name, num_classes=4, channels=3, image_size=16, seed=0, **options)


def test_feature_cosine_is_that_of_the_embeddings():
    model = small_victim()
    truth, guess = images(3, 3, 16, 16), images(3, 3, 16, 16, seed=1)
    with torch.no_grad():
        left, right = (model.features(normalise(x)).double() for x in (truth, guess))
    expected = [float(a @ b / (a.norm() * b.norm())) for a, b in zip(left, right, strict=True)]
    assert feature_cosine(model, truth, guess, normalise).tolist() == pytest.approx(expected, abs=1e-6)
    assert feature_cosine(model, truth, truth, normalise).tolist() == pytest.approx([1] * 3)


def test_feature_cosine_does_not_change_the_victim():
    model = small_victim("lenet5", batchnorm=True).train()
    model.head.eval()
    modes = [module.training for module in model.modules()]
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    feature_cosine(model, images(2, 3, 16, 16), images(2, 3, 16, 16, seed=1), normalise)
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_feature_cosine_does_not_depend_on_the_other_images():
    model = small_victim("lenet5", batchnorm=True).train()
    truth, guess = images(70, 3, 16, 16), images(70, 3, 16, 16, seed=1)
    whole = feature_cosine(model, truth, guess, normalise)
    assert whole.shape == (70,)
    assert feature_cosine(model, truth[66:67], guess[66:67], normalise).item() == pytest.approx(whole[66].item())


def test_the_nearest_error_of_many_vectors_is_no_coarser_than_their_type():
    truth = torch.randn(40, 200, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    error = nearest_error(truth, truth.flip(0) * (1 + 1e-13))
    torch.testing.assert_close(error, torch.full_like(error, 1e-13), rtol=0.01, atol=0)
