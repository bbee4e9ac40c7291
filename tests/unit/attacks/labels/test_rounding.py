from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradleak.attacks.labels.rounding import largest_remainder, published_counts

SOLUTIONS = st.lists(st.floats(-1e12, 1e12) | st.floats(-3, 9), min_size=1, max_size=12)


@pytest.mark.parametrize(
    ("solution", "B", "expected"),
    [
        ([-0.7, 0.5, 1.5, 2.5], 4, [0, 0, 2, 2]),  # half to even
        ([0.4999, 0.5001, 3.2], 4, [0, 1, 3]),
        ([4.4, 4.6, 1e30], 4, [4, 0, 0]),  # more than B is dropped, not cut to B
    ],
)
def test_published_counts(solution: list[float], B: int, expected: list[int]):
    assert published_counts(np.array(solution), B).tolist() == expected


@pytest.mark.parametrize(
    ("solution", "B", "expected"),
    [
        ([2.0, 1.0, 0.0], 3, [2, 1, 0]),
        ([1.4, 1.4, 0.2], 3, [2, 1, 0]),  # one short after rounding: the lower index of the tie
        ([0.55, 1.6, 0.95], 3, [0, 2, 1]),  # one too many after rounding
        ([0.3, 1.45, 1.25], 3, [0, 2, 1]),
        ([0.0, 0.0, 0.0, 0.0], 6, [2, 2, 1, 1]),
        ([-1.0, -5.0], 3, [2, 1]),
        ([1e30, 0.0], 5, [5, 0]),
        ([3.0, 1.0], 0, [0, 0]),
        ([2.9999999999999996, 1.0000000000000002], 4, [3, 1]),
    ],
)
def test_largest_remainder(solution: list[float], B: int, expected: list[int]):
    assert largest_remainder(np.array(solution), B).tolist() == expected


@given(SOLUTIONS, st.integers(0, 2000))
def test_largest_remainder_is_an_assignment(solution: list[float], B: int):
    counts = largest_remainder(np.array(solution), B)
    assert counts.dtype == np.int64
    assert counts.sum() == B
    assert counts.min() >= 0


@given(st.lists(st.floats(-1, 5), min_size=1, max_size=4), st.integers(0, 5))
@settings(max_examples=150)
def test_largest_remainder_is_closest(solution: list[float], B: int):
    x = np.clip(solution, 0, B)
    candidates = np.array([n for n in product(range(B + 1), repeat=len(x)) if sum(n) == B])
    best = ((candidates - x) ** 2).sum(1).min()
    assert ((largest_remainder(np.array(solution), B) - x) ** 2).sum() == pytest.approx(best, abs=1e-7)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=9), st.randoms(use_true_random=False))
def test_whole_solutions_survive_noise(counts: list[int], random):
    noisy = np.array([count + random.uniform(-0.04, 0.04) for count in counts])
    assert largest_remainder(noisy, sum(counts)).tolist() == counts
    assert published_counts(noisy, sum(counts)).tolist() == counts
