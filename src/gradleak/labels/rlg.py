"""RLG, "Revealing Labels from Gradients" (Dang et al., NeurIPS 2021), as a cone test."""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import eigh, qr
from scipy.optimize import linprog, nnls
from torch import Tensor

from gradleak.labels.base import LabelGuess, LabelMethod, head_gradient, register
from gradleak.observe import Observation

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_ZERO_COLUMN = 1e-10
_OUTSIDE_CONE = 1e-6


def rlg(observation: Observation) -> LabelGuess:
    """Restore the classes in a batch from the row space of dL/dWᵀ (Dang et al., NeurIPS 2021, section 3).

    dL/dWᵀ = Eᵀ (P - Y) / B. If its rank is B, its right singular vectors Q [k, C] span the rows of P - Y, and the row
    of an image with label c is positive nowhere but, after a change of sign, at c. So class c is taken as present iff
    some combination r of the k rows has r·q_c > 0 and r·q_j <= 0 for every j != c, where q_j is column j of Q.

    The released code (Ma et al., ICLR 2023) runs a perceptron per class as a filter and then a linear program; here
    :func:`separable` decides the same question by its dual. The sets were equal on all 24 batches that were compared
    with that linear program (LeNet-5 with 100 classes, B = 24..512; FCN-3 with 10 classes, B = 8..64). The filter,
    which is random and asks for an accuracy above 0.9, changed none of them.

    Outside its premise the method answers wrongly, and these answers are reproduced, not repaired: if the rank is
    that of all classes (C - 1), every class is separable and is reported as present (10 classes, B >= 16); if the
    batch is larger than the embedding (LeNet-5 has d = 84), the row space holds no row of P - Y any more, and at
    B = 512 with 100 classes next to no class is found (published LeAcc 0.036).

    Args:
        observation: what the server sees. If the batch size is unknown, k is the numerical rank alone.

    Returns:
        A guess with ``presence`` [C] only.

    Raises:
        InputError: the gradient of the last layer's weight is missing or not finite.
    """
    gradient = head_gradient(observation, "head.weight")
    return LabelGuess(torch.from_numpy(separable(class_directions(gradient, observation.batch_size))))


def class_directions(weight_gradient: Tensor, batch_size: int | None) -> Floats:
    """Return the first min(B, numerical rank) right singular vectors of dL/dWᵀ.

    The numerical rank is that of ``numpy.linalg.matrix_rank``: singular values above
    largest * max(C, d) * machine epsilon, the epsilon of float32 unless the gradient is float64.

    Args:
        weight_gradient: [C, d], finite.
        batch_size: B, or None.

    Returns:
        Q [k, C] with orthonormal rows; no rows for a zero gradient.
    """
    gradient = weight_gradient.double().numpy()
    C, d = gradient.shape
    most = min(C, d) if batch_size is None else min(C, d, batch_size)
    if weight_gradient.dtype == torch.float64:
        left, singular, _ = np.linalg.svd(gradient, full_matrices=False)
        epsilon = np.finfo(np.float64).eps
    else:
        # The singular values that count are above 1e-5 of the largest, so their squares survive in float64, and a
        # few eigenvectors of a [C, C] matrix cost far less than a decomposition of the [C, d] gradient.
        values, vectors = eigh(gradient @ gradient.T, subset_by_index=[C - most, C - 1])
        left, singular = vectors[:, ::-1], np.sqrt(np.maximum(values[::-1], 0.0))
        epsilon = np.finfo(np.float32).eps
    rank = int((singular > singular[0] * max(C, d) * epsilon).sum())
    return np.ascontiguousarray(left[:, : min(most, rank)].T)


def separable(Q: Floats) -> Bools:
    """Return for each column q_c of Q whether some r has r·q_c > 0 and r·q_j <= 0 for every other column.

    By Farkas' lemma there is such an r iff q_c is not a non-negative combination of the other columns. That is a
    non-negative least-squares problem per class, whose residual is the r looked for. Two shortcuts, neither of which
    changes the answer, leave few classes to it: r = q_c often serves, and a class is out if the columns of
    :func:`positive_spanning_set`, of which it is none, reach every point.

    Args:
        Q: [k, C].

    Returns:
        [C] bool; False for columns that are zero up to rounding.
    """
    C = Q.shape[1]
    result = np.zeros(C, dtype=bool)
    norms = np.linalg.norm(Q, axis=0)
    alive = np.flatnonzero(norms > _ZERO_COLUMN)
    if len(alive) == 0:
        return result
    units = Q[:, alive] / norms[alive]
    gram = units.T @ units
    np.fill_diagonal(gram, -1.0)
    accepted = gram.max(axis=0) <= 0
    spanning = positive_spanning_set(Q[:, alive])
    undecided = ~accepted if spanning is None else ~accepted & spanning
    for position in np.flatnonzero(undecided):
        accepted[position] = _outside_cone(np.delete(units, position, axis=1), units[:, position])
    result[alive] = accepted
    return result


def positive_spanning_set(Q: Floats) -> Bools | None:
    """Choose at most 2k columns of Q whose non-negative combinations are the whole space.

    If T is a basis out of the columns and minus its sum is a non-negative combination of a set P of columns, then T and
    P together positively span the space. For exact gradients both exist, because the rows of P - Y sum to 0.

    Args:
        Q: [k, n] without zero columns.

    Returns:
        [n] bool, the chosen columns; None if there is no such set, or none that rounding leaves beyond doubt.
    """
    k, n = Q.shape
    if n <= k:
        return None
    # Pivoting on the columns' own lengths keeps short ones, of which the direction is mostly rounding, out of T.
    triangle, pivots = qr(Q, mode="r", pivoting=True, check_finite=False)
    pivot_sizes = np.abs(np.diag(triangle))
    if pivot_sizes[-1] < 1e-8 * pivot_sizes[0]:
        return None
    units = Q / np.linalg.norm(Q, axis=0)
    basis = pivots[:k]
    target = -units[:, basis].sum(axis=1)
    try:
        weights, residual = nnls(units, target)
    except RuntimeError:
        return None
    if residual > 1e-12 * np.linalg.norm(target):
        return None
    chosen = weights > 0
    chosen[basis] = True
    return chosen


def _outside_cone(columns: Floats, point: Floats) -> bool:
    """Whether a unit vector [k] is no non-negative combination of unit columns [k, n]."""
    if columns.shape[1] == 0:
        return True
    try:
        return bool(nnls(columns, point)[1] > _OUTSIDE_CONE)
    except RuntimeError:  # the active set cycled, which degenerate columns can cause
        return linprog(np.zeros(columns.shape[1]), A_eq=columns, b_eq=point, method="highs").status == 2


@register("rlg")
def build_rlg(*, alpha: float = 1.0) -> LabelMethod:
    """Return :func:`rlg`; alpha plays no part in it."""
    return rlg
