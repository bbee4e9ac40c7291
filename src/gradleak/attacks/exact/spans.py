"""Row and column space of a layer's gradient, and the noise in it."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

_ROUNDING = {
    torch.float64: 2.0**-53,
    torch.float32: 2.0**-24,
    torch.float16: 2.0**-11,
    torch.bfloat16: 2.0**-8,
}


@dataclass(frozen=True)
class Span:
    """Truncated singular value decomposition G = U S V^T of a layer's augmented gradient [dL/dW | dL/db].

    Attributes:
        left: U [out, r], holds the errors of all images.
        values: S [r], falling.
        right: V [in + 1, r], holds the augmented inputs of all images.
        noise: standard deviation of one entry of G around a matrix of rank r.
        squares: G squared entry by entry, times the relative rounding error squared, [out, in + 1]; the noise of each
            entry if nothing but rounding disturbs it.
        edge: largest singular value that noise alone would have.
    """

    left: Tensor
    values: Tensor
    right: Tensor
    noise: float
    squares: Tensor
    edge: float

    @property
    def rank(self) -> int:
        """r."""
        return len(self.values)

    @property
    def has_columns_left(self) -> bool:
        """Whether the column space says anything: it is not all of R^out."""
        return self.rank < self.left.shape[0] - 1

    def input_noise(self, t: Tensor) -> Tensor:
        """Standard deviation of the part of an input outside the row space, of one entry, root mean square: [k].

        The input with coordinates t [k, r] is B G^T d with d = U S^-1 t / B, so that noise E of G moves it by E^T U S^-1 t.
        """
        d = (t / self.values) @ self.left.T
        rounded = ((d.square() @ self.squares).mean(1)).sqrt()
        return torch.maximum(rounded, self.noise * d.norm(dim=1))

    def error_noise(self, t: Tensor) -> Tensor:
        """The same of an error with coordinates t = U^T delta [k, r] outside the column space: [k]."""
        d = (t / self.values) @ self.right.T
        rounded = ((d.square() @ self.squares.T).mean(1)).sqrt()
        return torch.maximum(rounded, self.noise * d.norm(dim=1))


def span(gradient: Tensor, *, precision: torch.dtype, batch_size: int | None = None) -> Span:
    """Decompose a gradient [out, in + 1] and find its rank.

    Args:
        gradient: float64.
        precision: type in which it was sent.
        batch_size: B, an upper bound of the rank; None if unknown.
    """
    out, width = gradient.shape
    U, S, Vh = torch.linalg.svd(gradient, full_matrices=False)
    unit = _ROUNDING[precision]
    generator = torch.Generator(device="cpu").manual_seed(0)
    draws = torch.randn(gradient.shape, generator=generator, dtype=torch.float64).to(gradient.device)
    rounding = unit * float(torch.linalg.matrix_norm(gradient * draws, 2))
    least = max(3 * rounding, 1e-15 * float(S[0]))
    r = int((S > least).sum())
    most = min(out, width)
    r = min(r, batch_size if batch_size is not None else most)
    noise, edge = unit * float(gradient.square().mean().sqrt()), least
    if r < most:
        for _ in range(20):
            noise = float((S[r:].square().sum() / ((out - r) * (width - r))).sqrt())
            edge = max(least, 1.1 * noise * (math.sqrt(out - r) + math.sqrt(width - r)))
            fewer = min(r, int((S > edge).sum()))
            if fewer == r:
                break
            r = fewer
    return Span(U[:, :r], S[:r], Vh[:r].T, noise, gradient.square() * unit**2, edge)
