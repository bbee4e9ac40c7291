"""Classes by the signs of the last layer's bias gradient."""

from gradleak.attacks.labels.base import LabelGuess, head_gradient
from gradleak.clients.observation import Observation

_LEAST = 1e-6
"""Relative size of an entry from which its sign counts; float32 sums round by less."""


def bias_sign(observation: Observation) -> LabelGuess:
    """Return the classes whose entry of dL/db [C] is negative.

    With cross-entropy an entry is the mean probability of its class minus the class's share of the batch, so a class
    with a negative one is in the batch, whatever the features and the sizes of the entries; others may be in it too.
    For a single image this is the rule of Zhao, Mopuri and Bilen (2020, arXiv 2001.02610).

    Returns:
        A guess with ``presence`` [C] only.

    Raises:
        InputError: the gradient of the last layer's bias is missing or not finite.
    """
    bias = head_gradient(observation, "head.bias").double()
    return LabelGuess(bias < -_LEAST * bias.abs().max())
