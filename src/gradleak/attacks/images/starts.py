"""Initial images and label logits of a reconstruction."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor


def start(
    kind: str, shape: tuple[int, ...], scale: float, rng: np.random.Generator, other: Callable[[], Tensor]
) -> Tensor:
    """Return normalised initial images.

    Args:
        kind: ``randn``: normal. ``rand``: uniform in [-1, 1]. ``zeros``: the mean image. ``auxiliary``: other images.
        shape: [n, c, h, w].
        scale: factor of the drawn values.
        rng: random generator.
        other: returns the images for ``auxiliary``, of this shape.
    """
    if kind == "zeros":
        return torch.zeros(shape)
    if kind == "auxiliary":
        return other() * scale
    drawn = rng.standard_normal(shape) if kind == "randn" else rng.uniform(-1, 1, shape)
    return torch.from_numpy(drawn.astype(np.float32)) * scale
