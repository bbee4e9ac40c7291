"""How an update is read as a gradient."""

import torch

from gradleak.audit.as_gradient import as_gradient
from gradleak.audit.options import Told


def test_what_was_told_is_repeated_exactly():
    told = Told(lr=0.12345678, momentum=0.87654321, weight_decay=0.000123456789)
    weights = {"a": torch.ones(3)}
    texts = [each.what for each in as_gradient({"a": torch.ones(3)}, weights, "delta", told).assumptions]
    assert "SGD with learning rate 0.12345678, momentum 0.87654321 from a velocity of 0, " in texts[0]
    assert "weight decay 0.000123456789 undone." in texts[0]
