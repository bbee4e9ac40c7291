"""Rounding of real-valued counts: as published, and so that they can be assigned to images."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def published_counts(solution: Floats, batch_size: int) -> Ints:
    """Round a real solution as the released code of Ma et al. (ICLR 2023) does for its LeAcc, LnAcc and IRec.

    Negative counts become 0, the rest is rounded half to even, and a count above B, which no batch can hold,
    is dropped to 0. The sum may differ from B.

    Args:
        solution: [C] finite counts.
        batch_size: B.

    Returns:
        [C] counts in 0..B.
    """
    rounded = np.round(np.maximum(solution, 0.0))
    return np.where(rounded <= batch_size, rounded, 0.0).astype(np.int64)


def largest_remainder(solution: Floats, batch_size: int) -> Ints:
    """Return the whole counts that sum to B and are closest, in squared distance, to a clipped real solution.

    The clipped solution is moved to the nearest real point that is non-negative and sums to B; each class
    then gets the whole part and the classes with the largest remainders get one instance more. This corrects
    the released code of Ma et al. (ICLR 2023), which adds to the wrong classes when the rounded counts fall
    short of B. Ties go to the lower class index; a solution without a positive entry gives the uniform
    counts.

    Args:
        solution: [C] finite counts, C >= 1; entries are clipped to 0..B first.
        batch_size: B >= 0.

    Returns:
        [C] counts in 0..B, summing to B.
    """
    x = np.clip(solution, 0.0, batch_size)
    # Projection onto {y >= 0, sum y = B}: y = max(x - shift, 0), where the n largest entries stay positive.
    # Whole counts nearest to x are the whole parts of y plus one for the largest remainders, because every
    # unit that a class receives costs more than the one before it.
    descending = np.sort(x)[::-1]
    shifts = (np.cumsum(descending) - batch_size) / np.arange(1, len(x) + 1)
    positive = np.flatnonzero(descending > shifts)
    shift = shifts[positive[-1]] if len(positive) else shifts[-1]
    y = np.maximum(x - shift, 0.0)
    # Rounding to 9 digits keeps float noise from breaking ties.
    y = np.round(y, 9)
    counts = np.floor(y).astype(np.int64)
    missing = batch_size - int(counts.sum())
    order = np.argsort(-(y - counts), kind="stable")
    counts[order[:missing]] += 1
    return counts
