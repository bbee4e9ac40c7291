"""Models, batches and updates of clients."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from gradleak.audit import audit_update
from gradleak.audit.findings import Audit

CLASSES, SIZE, B = 20, 30, 6


def network(*, dropout: float = 0.0, inplace: bool = False, norm: bool = False) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(SIZE, 40),
        nn.BatchNorm1d(40) if norm else nn.Identity(),
        nn.ReLU(inplace=inplace),
        nn.Dropout(dropout),
        nn.Linear(40, 40),
        nn.ReLU(inplace=inplace),
        nn.Linear(40, CLASSES),
    )


class Convolutional(nn.Module):
    """A model that is not gradleak's: no features, no head, its output a dictionary."""

    def __init__(self, norm: nn.Module | None = None) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, stride=2)
        self.norm = norm or nn.BatchNorm2d(4)
        self.first, self.second, self.out = nn.Linear(36, 40), nn.Linear(40, 40), nn.Linear(40, CLASSES)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        x = self.norm(self.stem(x)).relu().flatten(1)
        return {"logits": self.out(self.second(self.first(x).relu()).relu())}


def batch(size: int = B, shape: tuple[int, ...] = (SIZE,)) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(size, *shape, generator=generator)
    return x, torch.randint(CLASSES, (size,), generator=generator)


def gradient(model: nn.Module, x: Tensor, y: Tensor, loss: Callable[..., Tensor] = cross_entropy) -> dict[str, Tensor]:
    """Return the gradient of every trained parameter, in the model's present mode."""
    output = model(x)
    logits = output["logits"] if isinstance(output, dict) else output
    named = {name: p for name, p in model.named_parameters() if p.requires_grad}
    found = torch.autograd.grad(loss(logits, y), list(named.values()), allow_unused=True)
    return {name: g for name, g in zip(named, found, strict=True) if g is not None}


def certified(counts: Tensor | dict[int, int]) -> dict[int, int]:
    if isinstance(counts, dict):
        return counts
    return {c: n for c, n in enumerate(torch.bincount(counts).tolist()) if n}


@pytest.fixture
def attack() -> Callable[..., Audit]:
    """Audit an update without the slow parts."""

    def run(model: nn.Module, update: dict[str, Tensor], **told: Any) -> Audit:
        return audit_update(
            model, update, **{"input_shape": (SIZE,), "matching": False, "defenses": False, "minutes": 0.5} | told
        )

    return run
