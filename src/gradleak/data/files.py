"""Data sets whose images are files, decoded only when a batch asks for them."""

import os
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from gradleak import extras
from gradleak.data.base import ImageDataset, one_line
from gradleak.errors import InputError

_WNID = re.compile(r"n\d{8}")
MODES = {1: "L", 3: "RGB"}
"""Number of channels -> PIL's image mode."""

_SUFFIXES = (".jpeg", ".jpg", ".png")


@dataclass(frozen=True, eq=False)
class FileDataset(ImageDataset):
    """Image files, resized (bilinear, antialiased) and cropped at the centre to ``facts.image_size``.

    Attributes:
        paths: N file names, in the order of the labels.
        resize: length in pixels of the shorter side before the crop; 256 is the usual ImageNet evaluation transform.
    """

    paths: tuple[str, ...]
    resize: int = 256

    def pixels(self, indices: Tensor) -> Tensor:
        """Return images [n, channels, height, width] uint8; a repeated image is decoded once.

        Raises:
            IndexError: an index is outside the set.
            InputError: a file is missing or is not an image.
        """
        distinct, positions = torch.unique(indices, return_inverse=True)
        size = self.facts.image_size
        decoded = torch.empty(len(distinct), self.facts.channels, size, size, dtype=torch.uint8)

        def decode_into(row: int, path: str) -> None:
            decoded[row] = decode(path, size, self.resize, self.facts.channels)

        paths = [self.paths[i] for i in distinct.tolist()]
        # PIL releases the interpreter lock while it decodes and resizes, so threads use every core.
        with ThreadPoolExecutor(max_workers=len(os.sched_getaffinity(0))) as pool:
            for _ in pool.map(decode_into, range(len(paths)), paths):
                pass
        return decoded[positions]


def decode(path: str, size: int, resize: int, channels: int = 3) -> Tensor:
    """Read one image file, resize its shorter side and crop the centre.

    The resize works on the PIL image, as in the published ImageNet pipelines; on tensors it differs slightly.

    Args:
        path: a file that PIL can read.
        size: height and width of the crop in pixels.
        resize: length of the shorter side in pixels; an image that already has it is not resized.
        channels: 1 (grey) or 3 (RGB); files are converted.

    Returns:
        [channels, size, size] uint8.

    Raises:
        InputError: the file is missing or is not an image.
    """
    # Imported here because torchvision takes seconds to import and sets in memory do not need it.
    with extras.needed_by(f"image {path}"):
        from torchvision.transforms import InterpolationMode
        from torchvision.transforms import functional as transform

    try:
        with Image.open(path) as file:
            if file.mode.startswith(("I", "F")):  # PIL would clip them to 8 bits, turning most of them white
                raise ValueError(f"its pixels have mode {file.mode}; it must have 8 bits per channel")
            image = file.convert(MODES[channels])
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:  # from decoders
        raise InputError(f"cannot read image {path}: {one_line(error)}; replace or remove the file") from error
    image = transform.resize(image, [resize], InterpolationMode.BILINEAR, antialias=True)  # pyright: ignore[reportArgumentType]
    image = transform.center_crop(image, [size])
    return transform.pil_to_tensor(image)


def wnid_folders(folder: Path) -> list[str]:
    """Return the sorted names of the class folders, such as ``n01440764``, in a folder; none if it does not exist."""
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if _WNID.fullmatch(entry.name) and entry.is_dir())


def image_files(folder: Path) -> list[str]:
    """Return the sorted image files of a folder, so that an index means the same image on every file system."""
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        return sorted(entry.path for entry in entries if entry.name.lower().endswith(_SUFFIXES))
