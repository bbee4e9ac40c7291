"""Linear equations for the unknowns of candidates."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class Known:
    """Linear equations rows . s + offsets = 0 in the unknowns of m candidates.

    Attributes:
        rows: [k, q].
        offsets: [k].
        weights: [m, k], variance of a residual of the other equations over the variance of this one.
        variance: [m], of a residual of the other equations.
    """

    rows: Tensor
    offsets: Tensor
    weights: Tensor
    variance: Tensor

    def of(self, index: Tensor) -> "Known":
        """Return those of some candidates."""
        return replace(self, weights=self.weights[index], variance=self.variance[index])

    def joined(self, other: "Known") -> "Known":
        """Return the equations of both, for the same candidates."""
        return replace(
            self,
            rows=torch.cat([self.rows, other.rows]),
            offsets=torch.cat([self.offsets, other.offsets]),
            weights=torch.cat([self.weights, other.weights], dim=1),
        )

    def residuals(self, s: Tensor) -> Tensor:
        """Return [m, k] of unknowns s [m, q]."""
        return s @ self.rows.T + self.offsets

    def cost(self, s: Tensor) -> Tensor:
        """Return the weighted sum of their squares at unknowns s [m, q], [m]."""
        return (self.weights * self.residuals(s).square()).sum(1)

    def gradient(self, s: Tensor) -> Tensor:
        """Return J^T f [m, q] at unknowns s [m, q]."""
        return (self.weights * self.residuals(s)) @ self.rows

    def gram(self) -> Tensor:
        """Return J^T J [m, q, q]."""
        return self.rows.T @ (self.weights[..., None] * self.rows)

    def excess(self, s: Tensor) -> Tensor:
        """Return the root mean square of the residuals at unknowns s [m, q], over their deviations, [m]."""
        count = (self.weights > 0).sum(1).clamp(min=1)
        return (self.cost(s) / (self.variance * count)).sqrt()
