"""Classes and counts that each distribution draws."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradleak.data.batches import DRAWS
from gradleak.data.datasets import load
from gradleak.errors import InputError
from gradleak.plan.distributions import DISTRIBUTIONS

SEEDS = st.integers(0, 2**32 - 1)


def test_every_distribution_of_the_plan_layer_is_drawn():
    assert tuple(DRAWS) == DISTRIBUTIONS


@given(size=st.integers(1, 60), seed=SEEDS)
def test_extreme_has_one_class(cifar, size: int, seed: int):
    assert len(cifar.counts(cifar.draw("extreme", size, seed))) == 1


@given(number=st.integers(1, 20), each=st.integers(1, 10), seed=SEEDS)
def test_balanced_has_equal_classes(cifar, number: int, each: int, seed: int):
    counts = cifar.counts(cifar.draw("balanced", number * each, seed, num_uniform_cls=number))
    assert sorted(counts.values()) == [each] * number


@given(size=st.integers(1, 100), seed=SEEDS)
def test_unique_has_one_image_per_class(cifar, size: int, seed: int):
    assert set(cifar.counts(cifar.draw("unique", size, seed)).values()) == {1}


@given(extra=st.integers(0, 40), number=st.integers(1, 10), seed=SEEDS)
def test_random2_has_the_given_number_of_classes(cifar, extra: int, number: int, seed: int):
    counts = cifar.counts(cifar.draw("random2", number + extra, seed, num_target_cls=number))
    assert len(counts) == number
    assert min(counts.values()) >= 1


@given(extra=st.integers(0, 200), number=st.integers(1, 10), seed=SEEDS)
def test_sim_repeats_one_image_per_class(digits, extra: int, number: int, seed: int):
    batch = digits.draw("sim", number + extra, seed, num_target_cls=number)
    assert len(batch) == number + extra
    assert len(batch.unique()) == len(digits.counts(batch)) == number


@given(size=st.integers(3, 62), seed=SEEDS)
def test_custom_imbalanced_counts(cifar, size: int, seed: int):
    assert cifar.counts(cifar.draw("custom_imbalanced", size, seed)) == Counter({0: 1, 18: size - 2, 92: 1})


@given(each=st.integers(1, 60), seed=SEEDS)
def test_custom_balanced_counts(cifar, each: int, seed: int):
    assert cifar.counts(cifar.draw("custom_balanced", 3 * each, seed)) == Counter({0: each, 18: each, 92: each})


@settings(max_examples=300, deadline=None)
@given(
    available=st.lists(st.integers(0, 4), min_size=2, max_size=8),
    number=st.integers(1, 5),
    size=st.integers(1, 20),
    seed=SEEDS,
)
def test_random2_on_small_data_succeeds_exactly_if_it_can(
    make_labels, available: list[int], number: int, size: int, seed: int
):
    labels = make_labels(dict(enumerate(available)))
    largest = sum(sorted(available)[::-1][:number])
    possible = number <= sum(count > 0 for count in available) and number <= size <= largest
    if not possible:
        with pytest.raises(InputError):
            labels.draw("random2", size, seed, num_target_cls=number)
        return
    batch = labels.draw("random2", size, seed, num_target_cls=number)
    assert len(batch.unique()) == size
    assert len(labels.counts(batch)) == number


def test_random2_counts_are_a_uniform_composition(make_labels):
    """5 = a + b has four equally likely solutions; which class gets a is random too."""
    seen: Counter[tuple[int, int]] = Counter()
    labels = make_labels({0: 9, 1: 9})
    for seed in range(2000):
        counts = labels.counts(labels.draw("random2", 5, seed, num_target_cls=2))
        seen[counts[0], counts[1]] += 1
    assert set(seen) == {(1, 4), (2, 3), (3, 2), (4, 1)}
    assert all(abs(n - 500) < 5 * 20 for n in seen.values())  # five standard deviations


def test_random2_classes_are_uniform(digits):
    seen: Counter[int] = Counter()
    for seed in range(1000):
        seen.update(digits.counts(digits.draw("random2", 12, seed)).keys())
    assert all(abs(n - 500) < 5 * 16 for n in seen.values())


def test_extreme_and_balanced_draw_classes_that_are_large_enough(make_labels):
    labels = make_labels({0: 2, 1: 5, 2: 1, 3: 6})
    drawn = {int(labels.classes[labels.draw("extreme", 5, seed)][0]) for seed in range(40)}
    assert drawn == {1, 3}
    assert set(labels.counts(labels.draw("balanced", 10, num_uniform_cls=2))) == {1, 3}


@pytest.fixture(scope="session")
def sample(make_labels):
    """The labels of 20 packaged images; most of the 100 classes have none."""
    return make_labels(Counter(load("cifar100-sample").labels.tolist()), 100)


@given(seed=SEEDS)
def test_classes_without_images_are_never_drawn(sample, seed: int):
    present = len(sample.classes.unique())
    for distribution, size in (("extreme", 1), ("unique", present), ("random2", 7), ("sim", 30)):
        assert len(sample.draw(distribution, size, seed)) == size
    batch = sample.draw("balanced", present, seed, num_uniform_cls=present)
    assert len(sample.counts(batch)) == present
