"""Label policies of a reconstruction."""

import torch
from torch import Tensor

from gradleak.attacks.labels.base import build
from gradleak.clients.observation import Observation
from gradleak.errors import InputError


def known_labels(policy: str, observation: Observation, truth: Tensor) -> Tensor | None:
    """Return the labels that a policy fixes, [n] int64 ascending; None if they are optimised with the images.

    The gradient does not depend on the order of a batch, so the assignment of labels to images is arbitrary, and
    ascending order reveals nothing to an attack.

    Args:
        policy: ``optimise``; ``ilrg``: counts by iLRG with the remainder assigned (Ma et al., ICLR 2023); ``idlg``:
            the sign rule for one image (Zhao et al. 2020); ``truth``: the true labels.
        observation: what the server sees.
        truth: [n] int64, used by the policy ``truth`` alone.

    Raises:
        InputError: the gradient is not finite.
    """
    if policy == "optimise":
        return None
    if policy == "truth":
        return truth.sort().values
    guess = build(policy)(observation)
    if policy == "idlg":
        return guess.presence.nonzero()[:, 0][: len(truth)]
    if guess.assignable_counts is None:
        raise InputError(f"{policy} restores no counts, so it cannot label images")
    return torch.repeat_interleave(torch.arange(len(guess.assignable_counts)), guess.assignable_counts)
