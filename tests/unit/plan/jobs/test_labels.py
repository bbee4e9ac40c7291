"""Options of label restoration: defaults and refusals."""

import re

import pytest
from pydantic import ValidationError

from gradleak.plan.jobs.labels import RestoreLabels


def test_default_spec_is_the_documented_default():
    spec = RestoreLabels()
    assert (spec.dataset, spec.model, spec.batch_size, spec.num_tries, spec.seed) == (
        "cifar100",
        "lenet5",
        24,
        50,
        12,
    )
    assert spec.methods == ("ilrg",)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"methods": ("ilrg", "magic")}, "unknown method 'magic'"),
        ({"methods": ()}, "no method given"),
        ({"alpha": 2.0, "methods": ("gi",)}, "alpha applies to"),
    ],
)
def test_impossible_methods_are_refused_with_a_reason(options, message):
    with pytest.raises(ValidationError, match=re.escape(message)):
        RestoreLabels(**options)
