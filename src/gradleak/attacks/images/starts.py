"""Images and label logits that a reconstruction begins with."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor


def start(
    kind: str, shape: tuple[int, ...], scale: float, rng: np.random.Generator, other: Callable[[], Tensor]
) -> Tensor:
    """Return normalised images to begin with.

    Args:
        kind: ``randn``: normal. ``rand``: uniform in [-1, 1]. ``zeros``: the mean image. ``auxiliary``: other images.
        shape: [n, c, h, w].
        scale: factor of what is drawn.
        rng: source of the draw.
        other: gives the images of ``auxiliary``, of this shape.
    """
    if kind == "zeros":
        return torch.zeros(shape)
    if kind == "auxiliary":
        return other() * scale
    drawn = rng.standard_normal(shape) if kind == "randn" else rng.uniform(-1, 1, shape)
    return torch.from_numpy(drawn.astype(np.float32)) * scale
