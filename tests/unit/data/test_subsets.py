"""Subsets of the train split."""

import pytest
import torch

from gradleak.data import datasets
from gradleak.data.subsets import train_subset
from gradleak.errors import InputError


def test_a_subset_is_drawn_once_and_lies_in_every_larger_one():
    data = datasets.load("mnist-sample")  # sorted by class
    small, large = train_subset(data, 300), train_subset(data, 1000)
    assert len(small) == 300
    assert torch.equal(small, train_subset(data, 300))
    assert torch.equal(small, small.unique())
    assert torch.isin(small, large).all()
    assert (torch.bincount(data.labels[small], minlength=10) > 10).all()
    assert torch.equal(train_subset(data, None), torch.arange(5000))
    assert torch.equal(train_subset(data, 5000), torch.arange(5000))


def test_more_images_than_there_are_is_refused():
    with pytest.raises(InputError, match="--train-images 5001: mnist-sample has 5000"):
        train_subset(datasets.load("mnist-sample"), 5001)
