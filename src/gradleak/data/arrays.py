"""Data sets whose pixels are one uint8 array in memory."""

from dataclasses import dataclass

from torch import Tensor

from gradleak.data.base import ImageDataset


@dataclass(frozen=True, eq=False)
class ArrayDataset(ImageDataset):
    """Images stored as bytes, a quarter of their float size; only fetched images become floats.

    Attributes:
        array: [N, channels, height, width] uint8.
    """

    array: Tensor

    def pixels(self, indices: Tensor) -> Tensor:
        """Return images [n, channels, height, width] uint8 by one gather."""
        return self.array[indices]
