"""Labels by exact inversion, certified one by one, and the rest by iLRG on what is left of the gradient."""

from dataclasses import replace

import torch
from torch import Tensor

from gradleak.attacks.exact.inversion import Inversion
from gradleak.attacks.exact.network import augmented
from gradleak.attacks.exact.observed import Seen, see
from gradleak.attacks.labels.base import head_gradient
from gradleak.attacks.labels.guess import LabelGuess
from gradleak.attacks.labels.ilrg import ilrg
from gradleak.clients.observation import HEAD, Observation
from gradleak.errors import InputError


def consistency(observation: Observation) -> LabelGuess:
    """Count the labels of the images that exact inversion finds, and estimate those of the others.

    They are taken out of the last layer's gradient; iLRG (Ma et al., ICLR 2023) restores the rest. Where no following
    layer confirms an image (backward and head consistency), it must be certified to count.

    Args:
        observation: what the server sees; with gradients of several linear layers their inputs are fixed by forward
            consistency, with those of the last layer alone by head consistency.

    Returns:
        A guess with presence, counts and certified counts.

    Raises:
        InputError: the batch size is unknown, or a gradient of the last layer is missing or not finite.
    """
    if observation.batch_size is None:
        raise InputError("consistency needs the batch size for the images that it does not find")
    for name in HEAD:
        head_gradient(observation, name)  # checked here, for one message of all methods
    seen = see(observation)
    return counts_of(observation, seen, seen.invert(observation.batch_size))


def counts_of(observation: Observation, seen: Seen, inversion: Inversion) -> LabelGuess:
    """Return the labels of a batch of which some images were found.

    Args:
        observation: what the server sees; the batch size must be known.
        seen: its linear layers.
        inversion: what they gave away.
    """
    assert observation.batch_size is not None
    if len(seen.network.layers) > 1 and int(_certified(inversion).sum()) < observation.batch_size:
        alone = seen.head()
        other = alone.invert(observation.batch_size)
        if int(_certified(other).sum()) > int(_certified(inversion).sum()):
            seen, inversion = alone, other
    C = seen.network.num_classes
    certified = torch.zeros(C, dtype=torch.int64)
    certified.index_add_(0, inversion.labels.cpu(), _certified(inversion).cpu())
    if int(certified.sum()) > observation.batch_size:  # the batch is larger than the given batch size
        return LabelGuess(certified > 0, certified, None, certified=certified)
    times = inversion.multiplicity if inversion.kind == "forward" else _certified(inversion)
    if int(times.sum()) > observation.batch_size:
        times = _certified(inversion)
    known = torch.zeros(C, dtype=torch.int64).index_add_(0, inversion.labels.cpu(), times.cpu())
    left = observation.batch_size - int(known.sum())
    if left == 0:
        return LabelGuess(known > 0, known, known, certified=certified)
    rest = ilrg(_rest(observation, seen, inversion, times, left))
    assert rest.counts is not None
    assert rest.assignable_counts is not None
    counts = known + rest.counts
    return LabelGuess(counts > 0, counts, known + rest.assignable_counts, certified=certified)


def _certified(inversion: Inversion) -> Tensor:
    """How many instances each image certifies, [k]."""
    return inversion.multiplicity * inversion.labels_certified


def _rest(observation: Observation, seen: Seen, inversion: Inversion, times: Tensor, left: int) -> Observation:
    """Return the last layer's gradient of the images left when those found are taken out ``times`` [k] each."""
    assert observation.batch_size is not None
    passed = seen.network.forward(inversion.inputs)
    errors = seen.network.errors(passed, inversion.labels)[-1]
    weights = times.double() / observation.batch_size
    known = (weights[:, None] * errors).T @ augmented(passed.inputs[-1])
    rest = (seen.gradients[-1] - known) * (observation.batch_size / left)
    gradients = {"head.weight": rest[:, :-1], "head.bias": rest[:, -1]}
    return replace(observation, gradients=gradients, batch_size=left)
