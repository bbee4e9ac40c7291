"""Impossible batches: one line says what would be right."""

import re

import pytest

from gradleak.errors import InputError
from gradleak.plan.distributions import DISTRIBUTIONS


@pytest.fixture
def gap(make_labels):
    """A data set without images of class 18."""
    return make_labels({0: 3, 92: 3}, 100)


@pytest.mark.parametrize(
    ("labels", "distribution", "size", "options", "message"),
    [
        ("digits", "other", 4, {},
         f"unknown distribution 'other'; known: {', '.join(DISTRIBUTIONS)}"),
        ("digits", "random", 0, {},
         "batch_size is 0; a batch has at least 1 image"),
        ("digits", "random", 401, {},
         "batch_size 401 is more than the 400 images of the data set; use at most 400"),
        ("digits", "extreme", 41, {},
         "distribution extreme: batch_size 41 needs 1 class with at least 41 images and the data "
         "set has 0 (its largest class has 40 images)"),
        ("cifar", "balanced", 24, {},
         "distribution balanced: batch_size 24 is not a multiple of num_uniform_cls 32; use 32"),
        ("cifar", "balanced", 24, {"num_uniform_cls": 7},
         "distribution balanced: batch_size 24 is not a multiple of num_uniform_cls 7; use 21 or 28"),
        ("digits", "balanced", 32, {},
         "distribution balanced: num_uniform_cls 32 is more than the 10 classes of the data set; "
         "use at most 10"),
        ("digits", "balanced", 4, {"num_uniform_cls": 0},
         "distribution balanced: num_uniform_cls is 0; use at least 1"),
        ("digits", "balanced", 82, {"num_uniform_cls": 2},
         "distribution balanced: batch_size 82 needs 2 classes with at least 41 images and the "
         "data set has 0 (its largest class has 40 images)"),
        ("digits", "unique", 11, {},
         "distribution unique: batch_size 11 is more than the 10 classes of the data set; use at "
         "most 10"),
        ("digits", "random2", 4, {},
         "distribution random2: num_target_cls 5 is more than batch_size 4; use at most 4"),
        ("digits", "random2", 20, {"num_target_cls": 11},
         "distribution random2: num_target_cls 11 is more than the 10 classes of the data set; "
         "use at most 10"),
        ("digits", "random2", 81, {"num_target_cls": 2},
         "distribution random2: batch_size 81 is more than the 80 images of the 2 largest "
         "classes (num_target_cls 2); use at most 80"),
        ("digits", "sim", 4, {"num_target_cls": 0},
         "distribution sim: num_target_cls is 0; use at least 1"),
        ("digits", "sim", 1, {"num_target_cls": 2},
         "distribution sim: num_target_cls 2 is more than batch_size 1; use at most 1"),
        ("digits", "sim", 20, {"num_target_cls": 11},
         "distribution sim: num_target_cls 11 is more than the 10 classes of the data set; use "
         "at most 10"),
        ("cifar", "custom_imbalanced", 2, {},
         "distribution custom_imbalanced: batch_size 2 cannot hold 1, B - 2 and 1 images; use at "
         "least 3"),
        ("digits", "custom_imbalanced", 24, {},
         "distribution custom_imbalanced: it is made of classes 0, 18 and 92 and the data set "
         "has 10 classes; use a data set with at least 93"),
        ("cifar", "custom_balanced", 25, {},
         "distribution custom_balanced: batch_size 25 is not a multiple of 3; use 24 or 27"),
        ("gap", "custom_balanced", 3, {},
         "distribution custom_balanced: it needs images of class 18 and the data set has none; use a "
         "larger data set"),
    ],
)  # fmt: skip
def test_impossible_batches(request, labels: str, distribution: str, size: int, options: dict[str, int], message: str):
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        request.getfixturevalue(labels).draw(distribution, size, **options)


def test_labels_outside_the_classes(make_labels):
    labels = make_labels(dict.fromkeys(range(10), 40), 5)
    with pytest.raises(ValueError, match="label 9 is outside the 5 classes"):
        labels.draw("random", 4)
