"""A victim whose images are its embeddings, so that batches can be written explicitly."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from gradleak.clients.observation import BatchTruth, Observation, observe_head
from gradleak.victims.models.base import Victim

Batch = Callable[..., tuple[Observation, BatchTruth]]


class ToyVictim(Victim):
    """Images [n, d, 1, 1] are embeddings already."""

    def __init__(self, num_classes: int, dimension: int, scale: float, generator: torch.Generator):
        super().__init__()
        self.head = nn.Linear(dimension, num_classes)
        with torch.no_grad():
            self.head.weight.copy_(torch.randn(num_classes, dimension, generator=generator) * scale / dimension**0.5)
            self.head.bias.copy_(torch.randn(num_classes, generator=generator) * 0.1)

    def features(self, x: Tensor) -> Tensor:
        return x.flatten(1)


@pytest.fixture
def batch() -> Batch:
    """Return ``batch(labels, C, d, scale=1, spread=0.1, seed=0)``: a head observation and its truth.

    Embeddings are non-negative: a pattern of the class plus ``spread`` times noise of the image.
    """

    def make(
        labels: list[int], C: int, d: int, *, scale: float = 1.0, spread: float = 0.1, seed: int = 0
    ) -> tuple[Observation, BatchTruth]:
        generator = torch.Generator().manual_seed(seed)
        model = ToyVictim(C, d, scale, generator)
        patterns = torch.rand(C, d, generator=generator)
        y = torch.tensor(labels)
        x = patterns[y] + spread * torch.rand(len(y), d, generator=generator)
        return observe_head(model, [(x[:, :, None, None], y)])

    return make
