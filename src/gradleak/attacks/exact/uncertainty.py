"""What noise in the equations does to the unknowns, and to what depends on them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

_UNKNOWN = 1e-14
"""Eigenvalue of J^T J over the largest up to which a direction counts as not fixed at all, by rounding in float64."""


@dataclass(frozen=True)
class Uncertainty:
    """Least squares of m problems at their roots: the unknowns have the covariance (J^T J)^-1 J^T N J (J^T J)^-1.

    Attributes:
        gram: J^T J [m, q, q].
        noisy: J^T N J [m, q, q], with the covariance N of the residuals.
    """

    gram: Tensor
    noisy: Tensor

    def of(self, index: Tensor) -> "Uncertainty":
        """Return that of some problems."""
        return Uncertainty(self.gram[index], self.noisy[index])

    def of_unknowns(self) -> Tensor:
        """Return the root of the covariance's trace, [m]; infinite where a direction is not fixed."""
        values, _, middle = self._decomposed()
        fixed = (values > _UNKNOWN * values[:, -1:]).all(1)
        square = (middle.diagonal(dim1=1, dim2=2) / values.square()).sum(1)
        return torch.where(fixed, square, torch.inf).sqrt().nan_to_num(torch.inf)

    def through(self, tangents: Iterable[tuple[int, Tensor]], sizes: Sequence[Tensor], *, bound: Tensor) -> Tensor:
        """Return the relative error of the vectors that depend on the unknowns, worst vector, [m].

        Args:
            tangents: number of a vector, and its derivative by the unknowns [m, out, q].
            sizes: length of each vector, [m].
            bound: [m] how far an unknown may be off where nothing fixes it.
        """
        values, vectors, middle = self._decomposed()
        spread = middle.diagonal(dim1=1, dim2=2).clamp(min=0).sqrt()
        fixed = (values > _UNKNOWN * values[:, -1:]) & (spread <= bound[:, None] * values)
        inverse = torch.where(fixed, 1 / values.clamp(min=1e-300), 0.0)
        covariance = inverse[..., None] * middle * inverse[:, None]
        covariance = covariance + torch.diag_embed(torch.where(fixed, 0.0, bound[:, None].square()))
        worst = torch.zeros_like(bound)
        for index, tangent in tangents:
            turned = tangent @ vectors
            square = (turned.mT @ turned * covariance).sum((1, 2)).clamp(min=0)
            worst = torch.maximum(worst, square.sqrt() / sizes[index].clamp(min=1e-300))
        return worst.nan_to_num(torch.inf)

    def _decomposed(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return eigenvalues [m, q] and eigenvectors of J^T J, and J^T N J in their coordinates."""
        values, vectors = eigen(self.gram, self.noisy.isfinite().all((1, 2)))
        return values, vectors, vectors.mT @ self.noisy @ vectors


def eigen(gram: Tensor, sound: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return eigenvalues [m, q] and eigenvectors [m, q, q] of J^T J, where LAPACK would fail for all because of one.

    Args:
        gram: [m, q, q]; of one that is not finite, as where a search has diverged, all eigenvalues are 0.
        sound: [m] bool, others that are treated alike.
    """
    finite = gram.isfinite().all((1, 2)) if sound is None else gram.isfinite().all((1, 2)) & sound
    values, vectors = torch.linalg.eigh(torch.where(finite[:, None, None], gram, torch.zeros_like(gram)))
    return values, vectors
