"""The label restoration of GradInversion ("See through Gradients"), extended to repeated classes."""

import torch

from gradleak.attacks.labels.base import LabelGuess, head_gradient
from gradleak.clients.observation import Observation


def gi(observation: Observation) -> LabelGuess:
    """Restore the classes in a batch from the smallest entry of each row of dL/dW.

    With non-negative embeddings only a class in the batch can have a negative entry in its row (Yin et al.,
    CVPR 2021). The original takes the B classes with the smallest row minima and so assumes distinct labels;
    the extension to batches with repeated classes (Ma et al., ICLR 2023) takes every class whose smallest
    entry is negative. For a batch of one image both return the class with the smallest entry.

    Returns:
        A guess with ``presence`` [C] only.

    Raises:
        InputError: the gradient of the last layer's weight is missing or not finite.
    """
    smallest = head_gradient(observation, "head.weight").amin(1)
    presence = torch.zeros_like(smallest, dtype=torch.bool)
    if observation.batch_size == 1:
        presence[smallest.argmin()] = True
    else:
        presence = smallest < 0
    return LabelGuess(presence)
