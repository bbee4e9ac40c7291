"""iLRG, instance-wise label restoration from gradients (Ma et al., ICLR 2023), and its two variants."""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import get_lapack_funcs
from torch import Tensor

from gradleak.attacks.labels.base import LabelGuess, head_gradient
from gradleak.attacks.labels.embeddings import recover_embeddings
from gradleak.attacks.labels.rounding import largest_remainder, published_counts
from gradleak.clients.observation import Observation
from gradleak.errors import InputError
from gradleak.victims.head import head_of

Floats = NDArray[np.float64]

_MIN_RCOND = 1e-10


def solve_counts(probabilities: Floats, bias_gradient: Floats, batch_size: int) -> Floats:
    """Solve for the real-valued counts k [C] (Ma et al., ICLR 2023, section 3).

    The system is sum_c k_c = B and sum_j k_j p_j[i] - k_i = B db[i] for each i, in the least-squares sense of
    the pseudo-inverse. With A = Pᵀ - I, whose columns sum to 0, and v = B db, the part of v along 1 is out of
    A's reach; taking it off leaves a system that is solved exactly by (A + 1 1ᵀ / C) k = v + B / C whenever
    that matrix is regular: one LU factorisation. If it is close to singular, the pseudo-inverse decides.

    Args:
        probabilities: [C, C], row j is the mean softmax output of class j, summing to 1.
        bias_gradient: [C].
        batch_size: B.
    """
    C = len(bias_gradient)
    target = batch_size * (bias_gradient - bias_gradient.mean()) + batch_size / C
    matrix = probabilities.T + 1.0 / C
    matrix[np.diag_indices(C)] -= 1.0
    norm = np.abs(matrix).sum(0).max()
    factorise, estimate_rcond, solve = get_lapack_funcs(("getrf", "gecon", "getrs"), (matrix,))
    lu, pivots, info = factorise(matrix)
    if info == 0:
        rcond, _ = estimate_rcond(lu, norm)
        if rcond > _MIN_RCOND:
            return solve(lu, pivots, target)[0]
    return solve_counts_stacked(probabilities, bias_gradient, batch_size)


def solve_counts_stacked(probabilities: Floats, bias_gradient: Floats, batch_size: int) -> Floats:
    """Solve the stacked system of n + 1 equations by the pseudo-inverse, as published.

    Args:
        probabilities: [n, n], row j holds the mean softmax outputs of class j for the n classes of the
            system; the rows sum to 1 only if these are all classes.
        bias_gradient: [n].
        batch_size: B.

    Returns:
        [n] float64.
    """
    n = len(bias_gradient)
    stacked = np.vstack([np.ones((1, n)), probabilities.T - np.eye(n)])
    target = batch_size * np.concatenate([[1.0], bias_gradient])
    return np.asarray(np.linalg.pinv(stacked, rcond=1e-15) @ target, dtype=np.float64)


def ilrg(observation: Observation, *, alpha: float = 1.0) -> LabelGuess:
    """Restore how many instances of each class a batch holds (Ma et al., ICLR 2023).

    The gradients of the last layer give the mean embedding ê_c = dL/dW[c] / dL/db[c] of each class, the
    forward pass its softmax output p̂_c = softmax(alpha (W ê_c + b)), and the counts solve the linear system
    of :func:`solve_counts`.

    Args:
        observation: what the server sees; the batch size must be known.
        alpha: factor on the recovered logits before the softmax.

    Returns:
        A guess with all fields. ``counts`` are rounded as published, ``presence`` is counts > 0. Embeddings and
        probabilities of classes outside the batch are meaningless.

    Raises:
        InputError: the batch size is unknown, or a gradient of the last layer is missing or not finite.
    """
    B = _batch_size(observation)
    embeddings, probabilities, bias_gradient = _recover(observation, alpha)
    solution = solve_counts(probabilities.numpy(), bias_gradient, B)
    return _guess(solution, B, embeddings=embeddings, probabilities=probabilities)


def ilrg_simplified(observation: Observation, *, alpha: float = 1.0) -> LabelGuess:
    """Restore counts for a server that already knows the classes (Ma et al., ICLR 2023, the simplified variant).

    The unknowns and equations are restricted to ``observation.side.present_classes``.

    Args:
        observation: what the server sees; the batch size and the present classes must be known.
        alpha: see :func:`ilrg`.

    Returns:
        As :func:`ilrg`, but ``presence`` is the set of known classes.

    Raises:
        InputError: see :func:`ilrg`; or the present classes are not given.
    """
    B, known = _batch_size(observation), _known_classes(observation)
    embeddings, probabilities, bias_gradient = _recover(observation, alpha)
    chosen = np.flatnonzero(known.numpy())
    P = probabilities.numpy()[np.ix_(chosen, chosen)]
    solution = solve_counts_stacked(P, bias_gradient[chosen], B)
    return _guess(solution, B, known=known, embeddings=embeddings, probabilities=probabilities)


def ilrg_estimate(observation: Observation) -> LabelGuess:
    """Restore counts with every probability estimated as 1/C (Ma et al., ICLR 2023, an ablation).

    The system of :func:`solve_counts` then has the closed solution k_c = B (1/C - (db_c - mean db)).

    Args:
        observation: what the server sees; the batch size must be known.

    Returns:
        A guess with presence and counts.

    Raises:
        InputError: the batch size is unknown, or the gradient of the last layer's bias is missing or not
            finite.
    """
    B = _batch_size(observation)
    db = head_gradient(observation, "head.bias").double().numpy()
    return _guess(B * (1.0 / len(db) - (db - db.mean())), B)


def _recover(observation: Observation, alpha: float) -> tuple[Tensor, Tensor, Floats]:
    """Return embeddings [C, d] and probabilities [C, C], float64, and the gradient of the bias [C]."""
    weight_gradient = head_gradient(observation, "head.weight")
    bias_gradient = head_gradient(observation, "head.bias")
    head = head_of(observation.model)
    assert head.bias is not None  # its gradient was sent
    W, b = head.weight.detach().double().cpu(), head.bias.detach().double().cpu()
    embeddings = recover_embeddings(weight_gradient, bias_gradient)
    probabilities = torch.softmax(alpha * torch.addmm(b, embeddings, W.T), dim=1)
    return embeddings, probabilities, bias_gradient.double().numpy()


def _guess(
    solution: Floats,
    batch_size: int,
    *,
    known: Tensor | None = None,
    embeddings: Tensor | None = None,
    probabilities: Tensor | None = None,
) -> LabelGuess:
    """Round the solution; if the classes are known, its entries belong to them in order, and all others are 0."""
    counts = torch.from_numpy(published_counts(solution, batch_size))
    assignable = torch.from_numpy(largest_remainder(solution, batch_size))
    if known is None:
        return LabelGuess(counts > 0, counts, assignable, embeddings, probabilities)
    spread, spread_assignable = (torch.zeros(len(known), dtype=torch.int64) for _ in range(2))
    spread[known], spread_assignable[known] = counts, assignable
    return LabelGuess(known.clone(), spread, spread_assignable, embeddings, probabilities, known.clone())


def _batch_size(observation: Observation) -> int:
    if observation.batch_size is None:
        raise InputError(
            "iLRG needs the batch size: its counts are the mean gradient times B; give the batch size, "
            "or use idlg, gi or rlg, which restore presence only"
        )
    return observation.batch_size


def _known_classes(observation: Observation) -> Tensor:
    known = observation.side.present_classes
    if known is None:
        raise InputError("ilrg-simplified needs side.present_classes: the classes that are in the batch")
    C = head_of(observation.model).out_features
    if known.dtype != torch.bool or known.shape != (C,) or not known.any():
        raise InputError(
            f"side.present_classes must be a bool tensor of shape [{C}] with a class set; "
            f"got {known.dtype} of shape {list(known.shape)}, {int(known.sum())} set"
        )
    return known.cpu()
