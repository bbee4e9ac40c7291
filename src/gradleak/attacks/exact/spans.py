"""Row and column space of a layer's gradient, and the noise in it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from gradleak.attacks.exact.network import ROUNDING

_FLOOR = {torch.float16: 2.0**-25}
"""Rounding error of the smallest numbers of types whose range ends among a gradient's entries."""

ABOVE = 2.0
"""Singular values count from this multiple of the largest one that noise would have: a direction that is half noise
would fix nothing."""

_SMALL = 600
"""Side up to which a full decomposition is quicker than a range finder."""


@dataclass(frozen=True)
class Span:
    """Truncated singular value decomposition G ~ U S V^T of a layer's augmented gradient G = [dL/dW | dL/db].

    Attributes:
        left: U [out, r]; its column space holds the errors of all images.
        values: S [r], falling.
        right: V [in + 1, r]; its column space holds the augmented inputs of all images.
        gradient: G [out, in + 1], float64.
        rounding: relative rounding error of an entry of G.
        floor: rounding error of an entry of G that is too small for the relative one, up to 0.
        noise: standard deviation of an entry of G around its part of rank r.
        edge: singular value from which a direction counts, :data:`ABOVE` times the largest that noise would have.
        saturated: whether the layer's shape may bound the rank, so that images may be missing in the spans.
    """

    left: Tensor
    values: Tensor
    right: Tensor
    gradient: Tensor
    rounding: float
    floor: float
    noise: float
    edge: float
    saturated: bool

    @property
    def rank(self) -> int:
        """r."""
        return len(self.values)

    def holds_all_of(self, first: "Span") -> bool:
        """Whether the images that another layer's gradient holds are in this one's too, but for a few weak ones."""
        return self.rank >= first.rank or (not self.saturated and self.rank >= 0.9 * first.rank)

    def input_noise(self, t: Tensor) -> Tensor:
        """Return the standard deviation of an entry of inputs with coordinates t [k, r] outside the row space: [k].

        An input is h = B G^T d with the dual d of its error, and t = V^T h gives d = U S^-1 t / B; noise E of the
        gradient moves it by B E^T d. The larger of what rounding and what even noise of all entries would do.
        """
        return self._noise(t, self.left, self._squares)

    def error_noise(self, t: Tensor) -> Tensor:
        """Return the same of errors with coordinates t = U^T delta [k, r] outside the column space: [k]."""
        return self._noise(t, self.right, self._squares.T)

    @cached_property
    def _squares(self) -> Tensor:
        return self.gradient.square()

    def _noise(self, t: Tensor, side: Tensor, squares: Tensor) -> Tensor:
        weights = t / self.values
        dual = weights @ side.T
        size = weights.norm(dim=1)
        relative = self.rounding**2 * (dual.square() @ squares).mean(1)
        rounded = torch.sqrt(relative + (self.floor * size).square())
        # To first order in the noise; where the singular values are hardly above it, more has to be allowed for.
        beyond = (weights * self.edge / self.values).norm(dim=1) / size.clamp(min=1e-300)
        return torch.maximum(rounded, self.noise * size) * (1 + 3 * beyond)

    def rest(self, errors: Tensor, inputs: Tensor, *, fixed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Take known images out of the spans.

        The gradient is multiplied by projectors that remove their errors from the left and their inputs from the right:
        neither the size of an error nor how often an image counts matters.

        Args:
            errors: delta [k, out] of the images.
            inputs: augmented inputs [k, in + 1] of the images.
            fixed: [k] bool, whose inputs are known; the errors of all are.

        Returns:
            Column space [out, r - k] and row space [in + 1, r - k] of the others, and rows [out, r - k] of what is left
            of the gradient, in coordinates of that row space. The column space is larger by the errors of images whose
            inputs are not known.
        """
        k = len(errors)
        C = torch.diag(self.values)
        if not k:
            return self.left, self.right, self.left * self.values
        known_errors, known_inputs = _basis((errors @ self.left).T), _basis((inputs[fixed] @ self.right).T)
        without_errors = C - known_errors @ (known_errors.T @ C)
        without_inputs = C - (C @ known_inputs) @ known_inputs.T
        U, S, Vh = torch.linalg.svd(without_errors)
        columns = torch.linalg.svd(without_inputs)[0]
        few, wide = max(self.rank - k, 0), max(self.rank - int(fixed.sum()), 0)
        return self.left @ columns[:, :wide], self.right @ Vh[:few].T, (self.left @ U[:, :few]) * S[:few]


def _basis(vectors: Tensor) -> Tensor:
    return torch.linalg.qr(vectors / vectors.norm(dim=0).clamp(min=1e-300))[0]


def decompose(
    gradient: Tensor, *, precision: torch.dtype, batch_size: int | None = None, is_head: bool = False
) -> Span:
    """Decompose a layer's gradient and find its rank: the number of singular values above what noise has.

    Args:
        gradient: [out, in + 1], float64.
        precision: type in which the client sent it, which tells the rounding error.
        batch_size: B, where the search for the rank begins; None if unknown. The singular values decide.
        is_head: the errors of the last layer sum to 0, so its gradient has rank C - 1 at most.
    """
    out, width = gradient.shape
    limit = min(out - is_head, width)
    unit, floor = ROUNDING[precision], _FLOOR.get(precision, 0.0)
    least = max(3 * ABOVE * _spectral_norm_of_noise(gradient, unit, floor), 1e-15 * float(gradient.norm()))
    U, S, V, left_over = _svd(gradient, limit if batch_size is None else min(limit, batch_size), least)
    above = min(limit, int((least < S).count_nonzero()))
    # Where nearly all values are above rounding, something else than rounding disturbs them.
    plausible = above if above < 0.7 * min(out, width) else above // 2
    r = plausible if batch_size is None else min(batch_size, above)

    def noise_and_edge(r: int) -> tuple[float, float]:
        rest = left_over + float(S[r:].square().sum())
        noise = math.sqrt(max(rest, 0.0) / ((out - r) * (width - r)))
        return noise, max(least, ABOVE * noise * (math.sqrt(out - r) + math.sqrt(width - r)))

    noise, edge = math.hypot(unit * float(gradient.square().mean().sqrt()), floor), least
    if r < min(out, width):
        while r < above and float(S[r]) > max(least, 1.1 / ABOVE * noise_and_edge(r)[1]):
            r += 1
    while r < min(out, width):
        noise, edge = noise_and_edge(r)
        fewer = min(r, int((edge < S).count_nonzero()))
        if fewer == r:
            break
        r = fewer
    # Where the values end close to the limit by themselves, some may be beyond it.
    saturated = r >= limit or (r != batch_size and r > 0.7 * limit)
    # The decomposition is exact for a matrix that differs from the gradient by rounding of its norm.
    noise = max(noise, 2.0**-48 * float(S[0]) / (math.sqrt(out) + math.sqrt(width)))
    return Span(U[:, :r], S[:r], V[:, :r], gradient, unit, floor, noise, edge, saturated)


def decomposed(gradients: Sequence[Tensor], *, precision: torch.dtype, batch_size: int | None) -> list[Span]:
    """Decompose the gradients of linear layers in a row, of which the last is the head; see :func:`decompose`."""
    last = len(gradients) - 1
    return [
        decompose(gradient, precision=precision, batch_size=batch_size, is_head=i == last)
        for i, gradient in enumerate(gradients)
    ]


def _svd(gradient: Tensor, most: int, least: float) -> tuple[Tensor, Tensor, Tensor, float]:
    """Return U, S, V of the leading part, and the sum of squares of what it leaves out."""
    out, width = gradient.shape
    if min(out, width) <= _SMALL:
        U, S, Vh = torch.linalg.svd(gradient, full_matrices=False)
        return U, S, Vh.T, 0.0
    generator = torch.Generator().manual_seed(0)
    size = min(64, most) + 16
    while True:  # a range finder (Halko, Martinsson, Tropp 2011, algorithm 4.4), widened until it reaches the noise
        size = min(size, out, width)
        draws = torch.randn(width, size, dtype=torch.float64, generator=generator).to(gradient.device)
        Q = torch.linalg.qr(gradient @ draws)[0]
        for _ in range(2):
            Q = torch.linalg.qr(gradient @ torch.linalg.qr(gradient.T @ Q)[0])[0]
        small = Q.T @ gradient
        U, S, Vh = torch.linalg.svd(small, full_matrices=False)
        if float(S[-1]) < least or size >= min(out, width) or (size > most and not _rises(S, most)):
            return Q @ U, S, Vh.T, float((gradient - Q @ small).square().sum())
        size *= 2


def _rises(S: Tensor, most: int) -> bool:
    """Whether values beyond the batch size are far from even: the gradient may have a larger rank than was told."""
    return float(S[most]) > 5 * float(S[-1])


def _spectral_norm_of_noise(gradient: Tensor, unit: float, floor: float) -> float:
    """Largest singular value of normal numbers as large as each entry's rounding error, by power iteration."""
    generator = torch.Generator().manual_seed(0)
    draws = torch.randn(gradient.shape, dtype=torch.float64, generator=generator).to(gradient.device)
    product = unit * gradient * draws if not floor else torch.sqrt((unit * gradient).square() + floor**2) * draws
    x = product.sum(0)
    size = 0.0
    for _ in range(15):
        norm = x.norm()
        if not float(norm):
            return 0.0
        y = product @ (x / norm)
        size = float(y.norm())
        x = product.T @ y
    return size
