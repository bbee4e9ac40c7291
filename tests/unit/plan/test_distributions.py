"""The plan refuses exactly the batches that no data could provide."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gradleak.errors import InputError
from gradleak.plan import cli
from gradleak.plan.aliases import RestoreLabelsShorthand
from gradleak.plan.distributions import DISTRIBUTIONS, check_batch
from gradleak.plan.jobs.labels import RestoreLabels


def exists(distribution: str, B: int, C: int, uniform: int, target: int) -> bool:
    """Whether C classes with unlimited images have such a batch, by the definition of the distribution."""
    match distribution:
        case "balanced":
            return uniform <= C and any(uniform * each == B for each in range(1, B + 1))
        case "unique":
            return B in range(1, C + 1)
        case "random2" | "sim":
            return target in range(1, C + 1) and B - (target - 1) >= 1
        case "custom_imbalanced":
            return {0, 18, 92} <= set(range(C)) and min(1, B - 2) >= 1
        case "custom_balanced":
            return {0, 18, 92} <= set(range(C)) and any(3 * each == B for each in range(1, B + 1))
    return True


@given(
    distribution=st.sampled_from(DISTRIBUTIONS),
    B=st.integers(1, 130),
    C=st.integers(2, 120),
    uniform=st.integers(1, 130),
    target=st.integers(1, 130),
)
@example("balanced", 64, 32, 32, 5)
@example("unique", 100, 100, 32, 5)
@example("sim", 5, 5, 32, 5)
@example("custom_imbalanced", 3, 93, 32, 5)
@example("custom_balanced", 3, 92, 32, 5)
def test_exactly_the_impossible_batches_are_refused(distribution: str, B: int, C: int, uniform: int, target: int):
    numbers = {"num_uniform_cls": uniform, "num_target_cls": target}
    if exists(distribution, B, C, uniform, target):
        check_batch(distribution, B, C, **numbers)
    else:
        with pytest.raises(InputError, match=f"^distribution {distribution}: [^\n]*; use "):
            check_batch(distribution, B, C, **numbers)


MNIST_FCN = "--dataset mnist --model fcn"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--distribution unique --num_images 101",
         "--num_images 101 is more than the 100 classes of the data set; use at most 100"),
        ("--distribution balanced --num_images 24",
         "--num_images 24 is not a multiple of --num-uniform-cls 32; use 32"),
        ("--distribution balanced --num_images 24 --num_uniform_cls 7",
         "--num_images 24 is not a multiple of --num_uniform_cls 7; use 21 or 28"),
        (f"--distribution balanced --num_images 64 {MNIST_FCN}",
         "--num-uniform-cls 32 is more than the 10 classes of the data set; use at most 10"),
        ("--distribution random2 --num_images 4",
         "--num-target-cls 5 is more than --num_images 4; use at most 4"),
        (f"--distribution sim --num_images 24 --num_target_cls 11 {MNIST_FCN}",
         "--num_target_cls 11 is more than the 10 classes of the data set; use at most 10"),
        ("--distribution custom_imbalanced --num_images 2",
         "--num_images 2 cannot hold 1, B - 2 and 1 images; use at least 3"),
        (f"--distribution custom_imbalanced --num_images 24 {MNIST_FCN}",
         "it is made of classes 0, 18 and 92 and the data set has 10 classes; use a data set with at least 93"),
        ("--distribution custom_balanced --num_images 25",
         "--num_images 25 is not a multiple of 3; use 24 or 27"),
    ],
)  # fmt: skip
def test_a_command_says_what_would_be_right(options: str, message: str):
    with pytest.raises(InputError) as caught:
        cli.parse(RestoreLabels, options.split(), shorthand=RestoreLabelsShorthand)
    assert str(caught.value) == f"--distribution {options.split()[1]}: {message}"


def test_missing_classes_and_classes_without_images_have_different_messages():
    with pytest.raises(InputError, match=r"more than the 9 classes that have images; use at most 9$"):
        check_batch("unique", 10, 100, num_uniform_cls=32, num_target_cls=5, num_present=9)


def test_an_imagenet_folder_has_the_number_of_classes_that_the_user_gives():
    options = {"dataset": "imagenet", "model": "resnet18", "distribution": "unique", "batch_size": 1500}
    with pytest.raises(ValueError, match="more than the 1000 classes"):
        RestoreLabels(**options)
    assert RestoreLabels(**options, num_classes=2000).batch_size == 1500


def test_a_number_of_classes_that_is_not_given_is_the_default():
    spec = RestoreLabels(distribution="balanced", batch_size=64, num_uniform_cls=None)
    assert spec == RestoreLabels(distribution="balanced", batch_size=64)
    assert spec.num_uniform_cls == 32
