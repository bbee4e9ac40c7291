"""Where a search begins."""

import torch
from torch import Tensor

from gradleak.attacks.exact.affine import Affine


def row_starts(rows: Tensor, affine: Affine) -> Tensor:
    """Return unknowns [m, r - 1] from rows [out, r] of a gradient, divided by their entries for the bias.

    Each is a mean of the inputs, weighed by the unit's errors; the one with least extrapolation comes first.
    """
    s = affine.unknowns(rows)
    s = s[torch.isfinite(s).all(1)]
    return s[s.norm(dim=1).argsort()]


def mixed_starts(s: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Return points [count, r - 1] on lines through two of some starts s [m, r - 1], all brought to one length."""
    size = s.norm(dim=1, keepdim=True)
    even = s / size.clamp(min=1e-300) * size[: max(1, len(s) // 2)].median()
    pairs = torch.randint(len(s), (count, 2), generator=generator).to(s.device)
    weight = (2 * torch.rand(count, 1, dtype=s.dtype, generator=generator) - 0.5).to(s.device)
    return even[pairs[:, 0]] * weight + even[pairs[:, 1]] * (1 - weight)
