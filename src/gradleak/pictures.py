"""Images as PNG files, one by one or as contact sheets."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gradleak.records import whole_file

_PAD = 2
_SHEET_WIDTH = 16
_SMALLEST = 64


def to_uint8(images: Tensor) -> np.ndarray:
    """[..., c, h, w] in [0, 1] -> [..., h, w, c] uint8."""
    return (images.clamp(0, 1) * 255).round().byte().movedim(-3, -1).cpu().numpy()


def write_image(path: Path, image: Tensor) -> None:
    """Write an image [c, h, w] in [0, 1] as PNG at its own size, atomically."""
    write_png(path, to_uint8(image))


def write_png(path: Path, pixels: np.ndarray) -> None:
    """Write pixels [h, w, c] uint8 as PNG, atomically."""
    picture = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    with whole_file(path) as temporary:
        picture.save(temporary, format="PNG")


def sheet(rows: Sequence[Tensor]) -> Tensor:
    """Arrange images in a grid: each row of the sheet is one of ``rows``, [n, c, h, w]; long rows are folded together.

    Small images are enlarged by integer factors, so that their pixels stay sharp.

    Returns:
        [c, height, width].
    """
    n = len(rows[0])
    blocks = [row[first : first + _SHEET_WIDTH] for first in range(0, n, _SHEET_WIDTH) for row in rows]
    c, h, w = rows[0].shape[1:]
    factor = max(1, -(-_SMALLEST // h))
    width = min(n, _SHEET_WIDTH)
    canvas = torch.ones(c, len(blocks) * (h * factor + _PAD) + _PAD, width * (w * factor + _PAD) + _PAD)
    for y, block in enumerate(blocks):
        for x, image in enumerate(block):
            top, left = _PAD + y * (h * factor + _PAD), _PAD + x * (w * factor + _PAD)
            large = image.repeat_interleave(factor, dim=1).repeat_interleave(factor, dim=2)
            canvas[:, top : top + h * factor, left : left + w * factor] = large
    return canvas
