"""Data sets whose images are files, decoded only when a batch asks for them."""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor

from gradleak.datasets.base import ImageDataset, one_line
from gradleak.errors import InputError

_RESIZE = 256
"""Length in pixels of the shorter side before the centre crop: the usual ImageNet evaluation transform."""


@dataclass(frozen=True, eq=False)
class FileDataset(ImageDataset):
    """Image files, resized (shorter side 256, bilinear, antialiased) and cropped at the centre.

    Attributes:
        paths: N file names, in the order of the labels.
    """

    paths: tuple[str, ...]

    def pixels(self, indices: Tensor) -> Tensor:
        """Return images [n, channels, height, width] uint8; an image asked for twice is decoded once.

        Raises:
            IndexError: an index is outside the set.
            InputError: a file is missing or is not an image.
        """
        distinct, positions = torch.unique(indices, return_inverse=True)
        size = self.facts.image_size
        decoded = torch.empty(len(distinct), self.facts.channels, size, size, dtype=torch.uint8)

        def decode_into(row: int, path: str) -> None:
            decoded[row] = decode(path, size)

        paths = [self.paths[i] for i in distinct.tolist()]
        # PIL releases the interpreter lock while it decodes and resizes, so threads use every core.
        with ThreadPoolExecutor(max_workers=len(os.sched_getaffinity(0))) as pool:
            for _ in pool.map(decode_into, range(len(paths)), paths):
                pass
        return decoded[positions]


def decode(path: str, size: int) -> Tensor:
    """Read one image file as RGB, resize its shorter side to 256 pixels and crop the centre.

    The resize works on the PIL image, as in the published ImageNet pipelines; on tensors it differs slightly.

    Args:
        path: a file that PIL can read.
        size: height and width of the crop in pixels.

    Returns:
        [3, size, size] uint8.

    Raises:
        InputError: the file is missing or is not an image.
    """
    # Imported here because torchvision takes seconds to import and sets kept in memory do without it.
    from torchvision.transforms import InterpolationMode
    from torchvision.transforms import functional as transform

    try:
        with Image.open(path) as file:
            image = file.convert("RGB")
    except (OSError, SyntaxError, ValueError) as error:  # PIL's decoders raise all three on damaged files
        raise InputError(f"cannot read image {path}: {one_line(error)}; replace or remove the file") from error
    image = transform.resize(image, [_RESIZE], InterpolationMode.BILINEAR, antialias=True)  # pyright: ignore[reportArgumentType]
    image = transform.center_crop(image, [size])
    return transform.pil_to_tensor(image)
