"""iDLG and its extension to batches."""

import torch

from gradleak.attacks.labels.base import LabelGuess, head_gradient
from gradleak.clients.observation import Observation


def idlg(observation: Observation) -> LabelGuess:
    """Restore the classes in a batch from the signs of the row sums of dL/dW.

    With non-negative embeddings the row of an absent class is a non-negative combination of them, so its sum
    cannot be negative (Zhao, Mopuri and Bilen 2020, arXiv 2001.02610; extended to batches by Ma et al., ICLR
    2023). Class c is taken as present iff the sum of row c of dL/dW [C, d] is negative. For a batch of one
    image the class with the smallest row sum is the answer.

    Returns:
        A guess with ``presence`` [C] only.

    Raises:
        InputError: the gradient of the last layer's weight is missing or not finite.
    """
    sums = head_gradient(observation, "head.weight").double().sum(1)
    presence = torch.zeros_like(sums, dtype=torch.bool)
    if observation.batch_size == 1:
        presence[sums.argmin()] = True
    else:
        presence = sums < 0
    return LabelGuess(presence)
