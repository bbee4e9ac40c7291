"""Options that programs share: spellings and refusals."""

import re

import pytest
from pydantic import ValidationError

from gradleak.plan.jobs.labels import RestoreLabels


def test_documented_spellings_are_the_same_run():
    documented = RestoreLabels(dataset="MNIST_GRAY", model="dnn")
    assert documented == RestoreLabels(dataset="mnist", model="fcn")
    assert RestoreLabels(dataset="CIFAR100").run_id == RestoreLabels(dataset="cifar100").run_id


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dataset": "svhn"}, "unknown data set 'svhn'"),
        ({"model": "alexnet"}, "unknown model 'alexnet'"),
        ({"model": "vgg16", "batchnorm": True}, "does not apply"),
        ({"dataset": "mnist", "model": "vgg16"}, "image_size=28"),
        ({"distribution": "uniform"}, "unknown distribution 'uniform'"),
        ({"num_target_cls": 3}, "random2 or sim only"),
        ({"num_uniform_cls": 3}, "balanced only"),
        ({"num_classes": 10}, "which has 100"),
        ({"dataset": "cifar100-sample", "batch_size": 21}, "more than the 20 images"),
        ({"batch_size": 0}, "greater than or equal to 1"),
        ({"colour": "red"}, "Extra inputs are not permitted"),
    ],
)
def test_impossible_options_are_refused_with_a_reason(options, message):
    with pytest.raises(ValidationError, match=re.escape(message)):
        RestoreLabels(**options)
