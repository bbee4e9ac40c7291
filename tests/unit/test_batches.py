"""Every distribution draws what it promises, and says so when it cannot."""

import re
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gradleak.batches import DRAWS, select
from gradleak.datasets import load
from gradleak.errors import InputError
from gradleak.facts import DISTRIBUTIONS

SEEDS = st.integers(0, 2**32 - 1)


def labels_of(counts: dict[int, int], seed: int = 0) -> torch.Tensor:
    """Shuffled labels with so many images per class."""
    flat = np.repeat(list(counts), list(counts.values()))
    return torch.from_numpy(np.random.default_rng(seed).permutation(flat).astype(np.int64))


CIFAR = labels_of(dict.fromkeys(range(100), 60))
DIGITS = labels_of(dict.fromkeys(range(10), 40))


def draw(
    labels: torch.Tensor,
    distribution: str,
    batch_size: int,
    seed: int = 0,
    num_classes: int = 100,
    **options: int,
) -> torch.Tensor:
    return select(labels, num_classes, distribution, batch_size, np.random.default_rng(seed), **options)


def classes_in(labels: torch.Tensor, batch: torch.Tensor) -> Counter[int]:
    return Counter(labels[batch].tolist())


def is_distinct(batch: torch.Tensor) -> bool:
    return len(batch.unique()) == len(batch)


def test_every_distribution_of_the_plan_layer_is_drawn():
    assert tuple(DRAWS) == DISTRIBUTIONS


@settings(max_examples=150, deadline=None)
@given(
    distribution=st.sampled_from(DISTRIBUTIONS),
    shares=st.integers(1, 8),
    num_uniform_cls=st.integers(1, 12),
    num_target_cls=st.integers(1, 3),
    seed=SEEDS,
)
def test_size_range_and_distinctness(
    distribution: str, shares: int, num_uniform_cls: int, num_target_cls: int, seed: int
):
    size = {"balanced": shares * num_uniform_cls, "custom_balanced": 3 * shares}.get(distribution, shares + 2)
    options = {"num_uniform_cls": num_uniform_cls, "num_target_cls": num_target_cls}
    batch = draw(CIFAR, distribution, size, seed, **options)
    assert batch.shape == (size,)
    assert batch.dtype == torch.int64
    assert int(batch.min()) >= 0
    assert int(batch.max()) < len(CIFAR)
    assert is_distinct(batch) or distribution == "sim"
    again = draw(CIFAR, distribution, size, seed, **options)
    assert torch.equal(batch, again)


@given(size=st.integers(1, 60), seed=SEEDS)
def test_extreme_has_one_class(size: int, seed: int):
    assert len(classes_in(CIFAR, draw(CIFAR, "extreme", size, seed))) == 1


@given(number=st.integers(1, 20), each=st.integers(1, 10), seed=SEEDS)
def test_balanced_has_equal_classes(number: int, each: int, seed: int):
    counts = classes_in(CIFAR, draw(CIFAR, "balanced", number * each, seed, num_uniform_cls=number))
    assert sorted(counts.values()) == [each] * number


@given(size=st.integers(1, 100), seed=SEEDS)
def test_unique_has_one_image_per_class(size: int, seed: int):
    assert set(classes_in(CIFAR, draw(CIFAR, "unique", size, seed)).values()) == {1}


@given(extra=st.integers(0, 40), number=st.integers(1, 10), seed=SEEDS)
def test_random2_has_so_many_classes(extra: int, number: int, seed: int):
    counts = classes_in(CIFAR, draw(CIFAR, "random2", number + extra, seed, num_target_cls=number))
    assert len(counts) == number
    assert min(counts.values()) >= 1


@given(extra=st.integers(0, 200), number=st.integers(1, 10), seed=SEEDS)
def test_sim_repeats_one_image_per_class(extra: int, number: int, seed: int):
    batch = draw(DIGITS, "sim", number + extra, seed, num_classes=10, num_target_cls=number)
    assert len(batch) == number + extra
    assert len(batch.unique()) == len(classes_in(DIGITS, batch)) == number


@given(size=st.integers(3, 62), seed=SEEDS)
def test_custom_imbalanced_counts(size: int, seed: int):
    expected = Counter({0: 1, 18: size - 2, 92: 1})
    assert classes_in(CIFAR, draw(CIFAR, "custom_imbalanced", size, seed)) == expected


@given(each=st.integers(1, 60), seed=SEEDS)
def test_custom_balanced_counts(each: int, seed: int):
    expected = Counter({0: each, 18: each, 92: each})
    assert classes_in(CIFAR, draw(CIFAR, "custom_balanced", 3 * each, seed)) == expected


@settings(max_examples=300, deadline=None)
@given(
    available=st.lists(st.integers(0, 4), min_size=2, max_size=8),
    number=st.integers(1, 5),
    size=st.integers(1, 20),
    seed=SEEDS,
)
def test_random2_on_small_data_succeeds_exactly_if_it_can(available: list[int], number: int, size: int, seed: int):
    labels = labels_of(dict(enumerate(available)))
    largest = sum(sorted(available)[::-1][:number])
    possible = number <= sum(count > 0 for count in available) and number <= size <= largest
    if not possible:
        with pytest.raises(InputError):
            draw(labels, "random2", size, seed, num_classes=len(available), num_target_cls=number)
        return
    batch = draw(labels, "random2", size, seed, num_classes=len(available), num_target_cls=number)
    assert is_distinct(batch)
    assert len(classes_in(labels, batch)) == number


@given(seed=SEEDS)
def test_classes_without_images_are_never_drawn(seed: int):
    data = load_cifar_sample()
    present = len(data.unique())
    for distribution, size in (("extreme", 1), ("unique", present), ("random2", 7), ("sim", 30)):
        batch = draw(data, distribution, size, seed)
        assert len(batch) == size
    batch = draw(data, "balanced", present, seed, num_uniform_cls=present)
    assert len(classes_in(data, batch)) == present


_SAMPLE: list[torch.Tensor] = []


def load_cifar_sample() -> torch.Tensor:
    if not _SAMPLE:
        _SAMPLE.append(load("cifar100-sample").labels)
    return _SAMPLE[0]


def test_seeds_differ():
    for distribution in DISTRIBUTIONS:
        size = 32 if distribution == "balanced" else 24
        batches = {tuple(draw(CIFAR, distribution, size, seed).tolist()) for seed in range(8)}
        assert len(batches) == 8, distribution


def test_random_images_within_a_class():
    seen = {tuple(sorted(draw(CIFAR, "custom_balanced", 3, seed).tolist())) for seed in range(50)}
    assert len(seen) > 40


def test_random2_counts_are_a_uniform_composition():
    """5 = a + b has four solutions, each as likely; and which class gets a is random too."""
    seen: Counter[tuple[int, int]] = Counter()
    labels = labels_of({0: 9, 1: 9})
    for seed in range(2000):
        counts = classes_in(labels, draw(labels, "random2", 5, seed, num_classes=2, num_target_cls=2))
        seen[counts[0], counts[1]] += 1
    assert set(seen) == {(1, 4), (2, 3), (3, 2), (4, 1)}
    assert all(abs(n - 500) < 5 * 20 for n in seen.values())  # five standard deviations


def test_random2_classes_are_uniform():
    seen: Counter[int] = Counter()
    for seed in range(1000):
        seen.update(classes_in(DIGITS, draw(DIGITS, "random2", 12, seed, num_classes=10)).keys())
    assert all(abs(n - 500) < 5 * 16 for n in seen.values())


def test_extreme_and_balanced_draw_classes_that_are_large_enough():
    labels = labels_of({0: 2, 1: 5, 2: 1, 3: 6})
    drawn = {int(labels[draw(labels, "extreme", 5, seed, num_classes=4)][0]) for seed in range(40)}
    assert drawn == {1, 3}
    assert set(classes_in(labels, draw(labels, "balanced", 10, num_classes=4, num_uniform_cls=2))) == {1, 3}


def test_labels_are_not_changed():
    labels = CIFAR.clone()
    draw(labels, "random2", 24)
    assert torch.equal(labels, CIFAR)


ERRORS = [
    ("other", 4, {}, DIGITS, 10, f"unknown distribution 'other'; known: {', '.join(DISTRIBUTIONS)}"),
    ("random", 0, {}, DIGITS, 10, "batch_size is 0; a batch has at least 1 image"),
    (
        "random",
        401,
        {},
        DIGITS,
        10,
        "batch_size 401 is more than the 400 images of the data set; use at most 400",
    ),
    (
        "extreme",
        41,
        {},
        DIGITS,
        10,
        "distribution extreme: batch_size 41 needs 1 class with at least 41 images and the data set has 0 "
        "(its largest class has 40 images)",
    ),
    (
        "balanced",
        24,
        {},
        CIFAR,
        100,
        "distribution balanced: batch_size 24 is not a multiple of num_uniform_cls 32; use 32",
    ),
    (
        "balanced",
        24,
        {"num_uniform_cls": 7},
        CIFAR,
        100,
        "distribution balanced: batch_size 24 is not a multiple of num_uniform_cls 7; use 21 or 28",
    ),
    (
        "balanced",
        32,
        {},
        DIGITS,
        10,
        "distribution balanced: num_uniform_cls 32 is more than the 10 classes that have images; use at most 10",
    ),
    (
        "balanced",
        4,
        {"num_uniform_cls": 0},
        DIGITS,
        10,
        "distribution balanced: num_uniform_cls is 0; use at least 1",
    ),
    (
        "balanced",
        82,
        {"num_uniform_cls": 2},
        DIGITS,
        10,
        "distribution balanced: batch_size 82 needs 2 classes with at least 41 images and the data set has 0 "
        "(its largest class has 40 images)",
    ),
    (
        "unique",
        11,
        {},
        DIGITS,
        10,
        "distribution unique: batch_size 11 is more than the 10 classes that have images; use at most 10",
    ),
    (
        "random2",
        4,
        {},
        DIGITS,
        10,
        "distribution random2: num_target_cls 5 is more than batch_size 4; use at most 4 classes",
    ),
    (
        "random2",
        20,
        {"num_target_cls": 11},
        DIGITS,
        10,
        "distribution random2: num_target_cls 11 is more than the 10 classes that have images; use at most 10",
    ),
    (
        "random2",
        81,
        {"num_target_cls": 2},
        DIGITS,
        10,
        "distribution random2: batch_size 81 is more than the 80 images of the 2 largest classes "
        "(num_target_cls 2); use at most 80",
    ),
    ("sim", 4, {"num_target_cls": 0}, DIGITS, 10, "distribution sim: num_target_cls is 0; use at least 1"),
    (
        "sim",
        1,
        {"num_target_cls": 2},
        DIGITS,
        10,
        "distribution sim: num_target_cls 2 is more than batch_size 1; use at most 1 class",
    ),
    (
        "sim",
        20,
        {"num_target_cls": 11},
        DIGITS,
        10,
        "distribution sim: num_target_cls 11 is more than the 10 classes that have images; use at most 10",
    ),
    (
        "custom_imbalanced",
        2,
        {},
        CIFAR,
        100,
        "distribution custom_imbalanced: batch_size 2 cannot hold 1, B - 2 and 1 images; use at least 3",
    ),
    (
        "custom_imbalanced",
        24,
        {},
        DIGITS,
        10,
        "distribution custom_imbalanced: it is made of classes 0, 18 and 92 and the data set has 10 classes; "
        "use a data set with at least 93",
    ),
    (
        "custom_imbalanced",
        63,
        {},
        CIFAR,
        100,
        "distribution custom_imbalanced: batch_size 63 needs 61 images of class 18 and the data set has 60; "
        "use a smaller batch or a larger data set",
    ),
    (
        "custom_balanced",
        25,
        {},
        CIFAR,
        100,
        "distribution custom_balanced: batch_size 25 is not a multiple of 3; use 24 or 27",
    ),
    (
        "custom_balanced",
        3,
        {},
        labels_of({0: 3, 92: 3}),
        100,
        "distribution custom_balanced: batch_size 3 needs 1 image of class 18 and the data set has 0; "
        "use a smaller batch or a larger data set",
    ),
]


@pytest.mark.parametrize(("distribution", "size", "options", "labels", "num_classes", "message"), ERRORS)
def test_impossible_batches(
    distribution: str,
    size: int,
    options: dict[str, int],
    labels: torch.Tensor,
    num_classes: int,
    message: str,
):
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        draw(labels, distribution, size, num_classes=num_classes, **options)


def test_labels_outside_the_classes():
    with pytest.raises(ValueError, match="label 9 is outside the 5 classes"):
        draw(DIGITS, "random", 4, num_classes=5)
