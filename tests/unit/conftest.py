"""A small smooth victim with every kind of layer that needs special treatment, and corrupted messages of clients."""

from collections.abc import Callable

import pytest
import torch
from tests.problems import Make, Sent, Spoil
from torch import Tensor, nn

from gradleak.clients.client import Client
from gradleak.notes import note
from gradleak.victims.models.base import Victim


class ToyVictim(Victim):
    """Convolution, BatchNorm, SiLU, dropout, then the head: smooth everywhere, in float64."""

    def __init__(self, num_classes: int, channels: int, image_size: int, generator: torch.Generator):
        super().__init__()
        norm = nn.BatchNorm2d(3)
        self.body = nn.Sequential(
            nn.Conv2d(channels, 3, 3, stride=2, padding=1), norm, nn.SiLU(), nn.Dropout(0.5), nn.Flatten()
        )
        self.head = nn.Linear(3 * (-(-image_size // 2)) ** 2, num_classes)
        self.double()
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(0.5 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
            for statistic in (norm.running_mean, norm.running_var):
                assert statistic is not None
                statistic.copy_(0.5 + torch.rand(3, generator=generator, dtype=torch.float64))

    def features(self, x: Tensor) -> Tensor:
        return self.body(x)


@pytest.fixture
def toy() -> Make:
    """Return ``toy(num_classes=3, channels=2, image_size=4, seed=0)``: a victim in eval mode."""

    def make(num_classes: int = 3, channels: int = 2, image_size: int = 4, seed: int = 0) -> Victim:
        return ToyVictim(num_classes, channels, image_size, torch.Generator().manual_seed(seed)).eval()

    return make


@pytest.fixture
def spoil(monkeypatch: pytest.MonkeyPatch) -> Spoil:
    """Return ``spoil(function)``: the function is applied to what clients send, with the number of the call from 1."""

    def install(function: Callable[[int, Sent], Sent]) -> None:
        calls = 0
        original = Client.send_many

        def send_many(self: Client, x: Tensor, targets: Tensor, *, at_once: int | None = None) -> Sent:
            nonlocal calls
            calls += 1
            return function(calls, original(self, x, targets, at_once=at_once))

        monkeypatch.setattr(Client, "send_many", send_many)

    return install


@pytest.fixture(autouse=True)
def _nothing_said_yet() -> None:
    """Forget printed notes, which are printed once per process and would make tests depend on each other."""
    note.cache_clear()
