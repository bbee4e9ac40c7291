"""The images of a batch: distinct images of the data set, determined by the seed."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gradleak.plan.distributions import DISTRIBUTIONS


@settings(max_examples=150, deadline=None)
@given(
    distribution=st.sampled_from(DISTRIBUTIONS),
    shares=st.integers(1, 8),
    num_uniform_cls=st.integers(1, 12),
    num_target_cls=st.integers(1, 3),
    seed=st.integers(0, 2**32 - 1),
)
def test_size_range_and_distinctness(
    cifar, distribution: str, shares: int, num_uniform_cls: int, num_target_cls: int, seed: int
):
    size = {"balanced": shares * num_uniform_cls, "custom_balanced": 3 * shares}.get(distribution, shares + 2)
    options = {"num_uniform_cls": num_uniform_cls, "num_target_cls": num_target_cls}
    batch = cifar.draw(distribution, size, seed, **options)
    assert batch.shape == (size,)
    assert batch.dtype == torch.int64
    assert int(batch.min()) >= 0
    assert int(batch.max()) < len(cifar.classes)
    assert len(batch.unique()) == size or distribution == "sim"

    again = cifar.draw(distribution, size, seed, **options)
    assert torch.equal(batch, again)


def test_custom_distributions_repeat_images_where_a_class_has_too_few(cifar):
    batch = cifar.draw("custom_imbalanced", 132, 0)  # class 18 has 60 images and 130 are requested
    counts = batch.unique(return_counts=True)[1]
    assert sorted(counts.tolist()) == [1, 1] + [2] * 50 + [3] * 10
    assert cifar.counts(batch) == {0: 1, 18: 130, 92: 1}


def test_seeds_differ(cifar):
    for distribution in DISTRIBUTIONS:
        size = 32 if distribution == "balanced" else 24
        batches = {tuple(cifar.draw(distribution, size, seed).tolist()) for seed in range(8)}
        assert len(batches) == 8, distribution


def test_random_images_within_a_class(cifar):
    seen = {tuple(sorted(cifar.draw("custom_balanced", 3, seed).tolist())) for seed in range(50)}
    assert len(seen) > 40


def test_labels_are_not_changed(cifar):
    before = cifar.classes.clone()
    cifar.draw("random2", 24)
    assert torch.equal(cifar.classes, before)
