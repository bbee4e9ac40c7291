"""Structural similarity (Wang et al., IEEE Transactions on Image Processing 2004)."""

import torch
from torch import Tensor
from torch.nn import functional

_WINDOW, _SIGMA = 11, 1.5
"""Side of the Gaussian window and its standard deviation, in pixels."""

_C1, _C2 = 0.01**2, 0.03**2
"""(K1 L)^2 and (K2 L)^2 for the data range L = 1."""


def ssim(truth: Tensor, guess: Tensor) -> Tensor:
    """Return the mean structural similarity of each pair of images, at most 1.

    Local means, variances and the covariance are weighted by a Gaussian window of 11x11 pixels, sigma 1.5; the
    mean runs over the window positions inside the image, then over the channels. For images smaller than the
    window it is the largest odd window that fits, with the same sigma. K1 = 0.01, K2 = 0.03.

    Args:
        truth: [n, channels, h, w] in [0, 1].
        guess: the same shape, beside ``truth``.

    Returns:
        [n] float64.
    """
    window = _window(min(_WINDOW, *truth.shape[2:])).to(truth.device)
    # One image at a time: its maps stay in the cache, which is ten times faster than a batch of large images
    pairs = zip(truth.double(), guess.double(), strict=True)
    values = [_similarity(x[:, None], y[:, None], window) for x, y in pairs]
    return torch.stack(values) if values else torch.empty(0, dtype=torch.float64)


def _similarity(x: Tensor, y: Tensor, window: Tensor) -> Tensor:
    """Return the similarity of two images [channels, 1, h, w] as a scalar."""

    def local_mean(image: Tensor) -> Tensor:
        rows = functional.conv2d(image, window[:, None])
        return functional.conv2d(rows, window[..., None])

    mean_x, mean_y = local_mean(x), local_mean(y)
    variances = local_mean(x * x) - mean_x**2 + local_mean(y * y) - mean_y**2
    covariance = local_mean(x * y) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + _C1) / (mean_x**2 + mean_y**2 + _C1)
    structure = (2 * covariance + _C2) / (variances + _C2)
    return (luminance * structure).mean()


def _window(fits: int) -> Tensor:
    """Return the one-dimensional weights [1, 1, k] of the largest odd window, k <= fits; they sum to 1."""
    side = fits - 1 + fits % 2
    steps = torch.arange(side, dtype=torch.float64) - side // 2
    weights = torch.exp(-0.5 * (steps / _SIGMA) ** 2)
    return (weights / weights.sum())[None, None]
