"""The context of a defense: a small victim and a batch."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from gradleak.clients.defenses.base import DefenseContext
from gradleak.victims.models.build import build

MakeContext = Callable[..., DefenseContext]


@pytest.fixture(scope="session")
def make_context() -> MakeContext:
    """Return ``make_context(seed=0, model="fcn", B=5, chunk=2, **options)``; images are 1x16x16, C = 4."""

    def make(seed: int = 0, model: str = "fcn", B: int = 5, chunk: int = 2, **options: Any) -> DefenseContext:
        if model == "fcn":
            options = {"n_dim": 12, **options}
        victim = build(model, num_classes=4, channels=1, image_size=16, seed=3, **options)
        images = torch.rand(B, 1, 16, 16, generator=torch.Generator().manual_seed(8))
        labels = torch.arange(B) % 4
        generator = torch.Generator().manual_seed(seed)
        return DefenseContext(generator, victim, lambda: zip(images.split(chunk), labels.split(chunk), strict=True))

    return make


@pytest.fixture(scope="session")
def context(make_context: MakeContext) -> DefenseContext:
    """A context for defenses that only use gradients."""
    return make_context()
