"""What arrives of gradients that are sent as a shorter type."""

import math

import torch
from torch import nn

from gradleak.clients.observation import Observation
from gradleak.clients.precision import rounded


def test_rounding_is_to_the_nearest_number_that_the_type_has():
    values = torch.tensor([1 + 2**-11, 1 + 3 * 2**-11, 2**-25, 1.5 * 2**-24, 7e4])
    observation = Observation({"head.weight": values}, nn.Linear(1, 5), 1)
    half = rounded(observation, "float16")
    assert half.precision is torch.float16
    assert half.gradients["head.weight"].dtype is torch.float32
    assert half.gradients["head.weight"].tolist() == [1, 1 + 2**-9, 0, 2**-23, math.inf]
    assert rounded(observation, "bfloat16").gradients["head.weight"][0] == 1
    assert rounded(observation, "float32") is observation
