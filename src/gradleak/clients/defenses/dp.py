"""Gaussian noise on the gradient."""

import torch
from torch import Tensor

from gradleak.clients.defenses.base import Defense, DefenseContext, Gradients


def additive_noise(std: float) -> Defense:
    """Return a defense that adds independent N(0, std²) noise to each entry.

    This is not differential privacy by itself: no per-example gradient is clipped, so the sensitivity is unbounded, and
    no privacy budget is accounted for. The name follows the released iLRG code (Ma et al., ICLR 2023).

    Args:
        std: standard deviation, > 0.
    """

    def add(gradient: Tensor, generator: torch.Generator) -> Tensor:
        noise = torch.randn(gradient.shape, generator=generator, dtype=gradient.dtype, device=generator.device)
        return gradient + std * noise.to(gradient.device)

    def defend(gradients: Gradients, context: DefenseContext) -> Gradients:
        return {name: add(gradient, context.generator) for name, gradient in gradients.items()}

    return defend
