"""Artificial labels, and batches drawn from them. All fixtures are constants, so hypothesis may share them."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor

from gradleak.data.batches import select


@dataclass(frozen=True)
class Labels:
    """The labels of a data set.

    Attributes:
        classes: [N] int64.
        num_classes: C.
    """

    classes: Tensor
    num_classes: int

    def draw(self, distribution: str, batch_size: int, seed: int = 0, **options: int) -> Tensor:
        """Return the indices [B] of a batch."""
        rng = np.random.default_rng(seed)
        return select(self.classes, self.num_classes, distribution, batch_size, rng, **options)

    def counts(self, batch: Tensor) -> Counter[int]:
        """Return the images per class of a batch."""
        return Counter(self.classes[batch].tolist())


MakeLabels = Callable[..., Labels]


@pytest.fixture(scope="session")
def make_labels() -> MakeLabels:
    """Return ``make_labels({class: images}, C)``, shuffled; C is by default the number of named classes."""

    def make(images: dict[int, int], num_classes: int | None = None) -> Labels:
        flat = np.repeat(list(images), list(images.values()))
        shuffled = np.random.default_rng(0).permutation(flat).astype(np.int64)
        return Labels(torch.from_numpy(shuffled), num_classes or len(images))

    return make


@pytest.fixture(scope="session")
def cifar(make_labels: MakeLabels) -> Labels:
    """60 images of each of 100 classes."""
    return make_labels(dict.fromkeys(range(100), 60))


@pytest.fixture(scope="session")
def digits(make_labels: MakeLabels) -> Labels:
    """40 images of each of 10 classes."""
    return make_labels(dict.fromkeys(range(10), 40))
