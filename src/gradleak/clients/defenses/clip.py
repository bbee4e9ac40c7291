"""Gradient clipping by the joint norm."""

import torch

from gradleak.clients.defenses.base import Defense, DefenseContext, Gradients


def clip_norm(bound: float) -> Defense:
    """Return a defense that scales all gradients by min(1, bound / norm), norm being their joint L2 norm.

    Gradients within the bound are returned unchanged. The released iLRG code (Ma et al., ICLR 2023) divides by
    norm + 1e-6, which differs by a relative 1e-6 / norm.

    Args:
        bound: largest norm, > 0; kept up to the rounding of the gradients' type.
    """

    def defend(gradients: Gradients, context: DefenseContext) -> Gradients:
        squares = [torch.linalg.vector_norm(g, dtype=torch.float64).item() ** 2 for g in gradients.values()]
        norm = sum(squares) ** 0.5
        if norm <= bound:
            return dict(gradients)
        return {name: gradient * (bound / norm) for name, gradient in gradients.items()}

    return defend
