"""Image regularisers: penalties, a box, a filter."""

import torch
from torch import Tensor
from torch.nn import functional


def total_variation(x: Tensor) -> Tensor:
    """Return the mean absolute difference of neighbouring pixels, down plus across, [K] for images x [K, n, c, h, w].

    Anisotropic, as in the released code of Geiping et al. (NeurIPS 2020).
    """
    down = (x[..., 1:, :] - x[..., :-1, :]).abs().flatten(1).mean(1)
    across = (x[..., :, 1:] - x[..., :, :-1]).abs().flatten(1).mean(1)
    return down + across


def energy(x: Tensor) -> Tensor:
    """Return half the mean square of the pixels, [K] for images x [K, n, c, h, w]: the l2 prior."""
    return x.square().flatten(1).mean(1) / 2


def median_filter(x: Tensor) -> Tensor:
    """Return images x [K, n, c, h, w] with each pixel replaced by the median of 3 x 3 around it (mirrored edges)."""
    shape = x.shape
    padded = functional.pad(x.flatten(0, 1), (1, 1, 1, 1), mode="reflect")
    windows = padded.unfold(2, 3, 1).unfold(3, 3, 1).flatten(4)
    return windows.median(dim=4).values.reshape(shape)


def clamp_(x: Tensor, low: Tensor, high: Tensor) -> None:
    """Project pixels into their valid range in place.

    Args:
        x: [K, n, c, h, w], normalised.
        low: [c, 1, 1], the normalised value of a black pixel.
        high: [c, 1, 1], the normalised value of a white pixel.
    """
    with torch.no_grad():
        x.copy_(torch.maximum(torch.minimum(x, high), low))
