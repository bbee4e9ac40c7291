import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gradleak.clients.defenses.base import below_percentile
from gradleak.clients.defenses.sparse import sparsify


def literal_percentile(values: list[float], percent: int) -> Fraction:
    """Linear interpolation between the order statistics, in exact arithmetic."""
    ordered = sorted(map(Fraction, values))
    rank = Fraction(percent * (len(values) - 1), 100)
    low, high = ordered[math.floor(rank)], ordered[math.ceil(rank)]
    return low + (rank - math.floor(rank)) * (high - low)


@given(
    st.lists(st.one_of(st.floats(0, 10, width=32), st.integers(0, 3).map(float)), min_size=1, max_size=30),
    st.integers(0, 100),
)
def test_below_percentile_is_below_the_interpolated_percentile(values: list[float], percent: int):
    threshold = literal_percentile(values, percent)
    expected = [Fraction(value) < threshold for value in values]
    assert below_percentile(torch.tensor(values), percent).tolist() == expected


@pytest.mark.parametrize("percent", [10, 20, 40, 80])
def test_below_percentile_agrees_with_numpy_and_torch(percent: int):
    values = torch.rand(37, 11, generator=torch.Generator().manual_seed(percent), dtype=torch.float64)
    mask = below_percentile(values, percent)
    assert mask.equal(values < np.percentile(values.numpy(), percent))
    assert mask.equal(values < torch.quantile(values, percent / 100))


@pytest.mark.parametrize("percent", [10, 20, 40, 80])
def test_exactly_the_given_percentage_of_distinct_magnitudes_is_zeroed_per_tensor(context, percent: int):
    generator = torch.Generator().manual_seed(0)
    order = (1.0 + torch.randperm(1000, generator=generator)) * (
        2.0 * torch.randint(2, (1000,), generator=generator) - 1
    )
    gradients = {"a": order.view(10, 100), "b": 1e-6 * order[:10]}
    sparse = sparsify(percent)(gradients, context)
    for name, gradient in gradients.items():
        zeroed = sparse[name] == 0
        assert zeroed.sum() == percent * gradient.numel() // 100
        assert gradient[zeroed].abs().max() < gradient[~zeroed].abs().min()
        assert sparse[name][~zeroed].equal(gradient[~zeroed])
        assert not (gradient == 0).any()


def test_ties_with_the_threshold_stay(context):
    gradients = {
        "a": torch.tensor([0.0, 0.0, 0.0, 1.0]),
        "b": torch.tensor([2.0, -2.0, 2.0, 2.0]),
        "c": torch.tensor(3.0),
    }
    sparse = sparsify(40)(gradients, context)
    assert all(sparse[name].equal(gradients[name]) for name in gradients)


def test_tensors_of_more_than_two_to_the_24_entries(context):
    n = 2**24 + 9
    gradient = torch.arange(1, n + 1, dtype=torch.int32).flip(0).double()
    sparse = sparsify(10)({"a": gradient}, context)["a"]
    assert (sparse == 0).sum() == math.ceil((n - 1) / 10)
    assert sparse[0] == n
    assert sparse[-1] == 0
