"""Defenses that an audit tries."""

import pytest
import torch

from gradleak.audit.defenses import candidates
from gradleak.plan.jobs.options import canonical_defense


@pytest.mark.parametrize(("size", "number"), [(0.0, 3), (1e-30, 7), (1.0, 7), (1e5, 7), (1e6, 6), (1e9, 3)])
def test_strengths_are_those_of_options(size, number):
    """Strengths that no option takes, such as noise of 0 or above a million, are not tried."""
    names = [each.name for each in candidates({"a": torch.full((10,), size)})]
    assert names.count("float16") == names.count("bfloat16") == 1
    others = [name for name in names if "-" in name]
    assert len(others) == number
    assert others == [canonical_defense(name) for name in others]
