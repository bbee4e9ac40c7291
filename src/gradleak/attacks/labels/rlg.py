"""RLG, "Revealing Labels from Gradients" (Dang et al., NeurIPS 2021), as a cone test."""

import numpy as np
import scipy  # its optimize is loaded on first use: importing it takes longer than most runs of other methods
import torch
from numpy.typing import NDArray
from scipy.linalg import eigh, qr
from torch import Tensor

from gradleak.attacks.labels.base import LabelGuess, head_gradient
from gradleak.clients.observation import Observation
from gradleak.notes import note

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_ZERO_COLUMN = 1e-10
_OUTSIDE = 1e-4
_WEIGHT = 1e-9  # a combination with weights that sum to more than _OUTSIDE / _WEIGHT = 1e5 does not count
_INFEASIBLE = 2  # status of scipy.optimize.linprog


def rlg(observation: Observation) -> LabelGuess:
    """Restore the classes in a batch from the row space of dL/dWᵀ (Dang et al., NeurIPS 2021).

    dL/dWᵀ = Eᵀ (P - Y) / B. If its rank is B, its right singular vectors Q [k, C] span the rows of P - Y, and
    the row of an image with label c is positive nowhere but, after a change of sign, at c. So class c is
    taken as present iff some combination r of the k rows has r·q_c > 0 and r·q_j <= 0 for every j != c, where
    q_j is column j of Q.

    The released code (Ma et al., ICLR 2023) runs a perceptron per class as a filter and then a linear
    program; here :func:`separable` decides the same question by its dual. The sets were equal on all 24
    batches compared with that linear program (LeNet-5 with 100 classes, B = 24..512; FCN-3 with 10
    classes, B = 8..64). The filter, which is random and requires an accuracy above 0.9, changed none of them.

    Outside its premise the method gives wrong answers, which are reproduced, not repaired: if the
    rank is that of all classes (C - 1), every class is separable and is reported as present (10 classes, B >=
    16); if the batch is larger than the embedding (LeNet-5 has d = 84), the row space holds no row of P - Y
    any more, and at B = 512 with 100 classes hardly any class is detected (published LeAcc 0.036).

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
        # The singular values that count are above 1e-5 of the largest, so their squares survive in float64,
        # and a few eigenvectors of a [C, C] matrix cost far less than a decomposition of the [C, d] gradient.
        values, vectors = eigh(gradient @ gradient.T, subset_by_index=[C - most, C - 1])
        left, singular = vectors[:, ::-1], np.sqrt(np.maximum(values[::-1], 0.0))
        epsilon = np.finfo(np.float32).eps
    rank = int((singular > singular[0] * max(C, d) * epsilon).sum())
    return np.ascontiguousarray(left[:, : min(most, rank)].T)


def separable(Q: Floats) -> Bools:
    """Return for each column q_c of Q whether some r has r·q_c > 0 and r·q_j <= 0 for every other column.

    By Farkas' lemma there is such an r iff q_c is not a non-negative combination of the other columns: one
    non-negative least-squares problem per class, whose residual is the required r. A combination with huge
    weights does not count, because it rests on columns that are next to zero, of which rounding and not the
    batch decides the direction; interior-point solvers forgive the same (with r·q_c = |q_c|, r·q_j up to
    1e-5; the released code up to 1e-2). Without this, RLG would miss most classes on confident models, where
    the two agree on 90 to 100 % of the classes.

    Two shortcuts, each a proof of its answer, leave few classes to the full problem: r = q_c often serves,
    and the few columns of :func:`positive_spanning_set` mostly suffice to combine those that are not
    separable.

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
    columns, units = Q[:, alive], Q[:, alive] / norms[alive]
    gram = units.T @ units
    np.fill_diagonal(gram, -1.0)
    accepted = gram.max(axis=0) <= 0
    few = positive_spanning_set(columns)
    for position in np.flatnonzero(~accepted):
        others = np.ones(len(alive), dtype=bool)
        others[position] = False
        if few is not None and _outside_cone(columns[:, others & few], units[:, position]) is False:
            continue
        outside = _outside_cone(columns[:, others], units[:, position])
        if outside is None:
            note("rlg: neither solver could decide whether a class is separable; such a class counts as absent")
        accepted[position] = outside is True
    result[alive] = accepted
    return result


def positive_spanning_set(Q: Floats) -> Bools | None:
    """Choose at most 2k columns of Q whose non-negative combinations are the whole space.

    If T is a basis out of the columns and minus its sum is a non-negative combination of a set P of columns,
    then T and P together positively span the space. For exact gradients both exist, because the rows of P - Y
    sum to 0.

    Args:
        Q: [k, n] without zero columns.

    Returns:
        [n] bool, the chosen columns; None if there are too few columns for it to help or there is no such set.
    """
    k, n = Q.shape
    if n <= 2 * k:
        return None
    # Pivoting on the columns' own lengths keeps short ones, whose direction is mostly rounding, out of T.
    pivots = qr(Q, mode="r", pivoting=True, check_finite=False)[-1]
    units = Q / np.linalg.norm(Q, axis=0)
    basis = pivots[:k]
    try:
        weights, _ = scipy.optimize.nnls(units, -units[:, basis].sum(axis=1))
    except RuntimeError:
        return None
    chosen = weights > 0
    chosen[basis] = True
    return chosen


def _outside_cone(columns: Floats, point: Floats) -> bool | None:
    """Whether a unit vector [k] is not a combination of columns [k, n] with weights >= 0 of moderate sum.

    None if neither solver can decide.
    """
    n = columns.shape[1]
    if n == 0:
        return True
    try:
        # The last row makes the residual at least _WEIGHT times the sum of the weights.
        rows = np.vstack([columns, np.full((1, n), _WEIGHT)])
        return bool(scipy.optimize.nnls(rows, np.append(point, 0.0))[1] > _OUTSIDE)
    except RuntimeError:  # the active set can cycle on degenerate columns
        answer = scipy.optimize.linprog(np.ones(n), A_eq=columns, b_eq=point, method="highs")
        if answer.status == 0:
            return bool(answer.fun * _WEIGHT > _OUTSIDE)
        return True if answer.status == _INFEASIBLE else None
