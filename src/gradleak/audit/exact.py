"""Exact inversion of an update: of all linear layers at the model's end, and of fewer where these do not hold."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from gradleak.attacks.exact.inversion import Inversion
from gradleak.attacks.exact.observed import Seen, see
from gradleak.audit.scale import SHARP, by_last_layer
from gradleak.clients.observation import Observation
from gradleak.victims.head import head_of


@dataclass(frozen=True)
class Exact:
    """What exact inversion found.

    Attributes:
        seen: the layers that were inverted.
        inversion: the images, or what the first of the layers reads of each.
    """

    seen: Seen
    inversion: Inversion

    @property
    def certified_labels(self) -> Tensor:
        """[C] int64, certified instances of each class."""
        counts = torch.zeros(self.seen.network.num_classes, dtype=torch.int64)
        times = self.inversion.multiplicity * self.inversion.labels_certified
        return counts.index_add_(0, self.inversion.labels.cpu(), times.cpu())

    @property
    def certified(self) -> int:
        """Number of certified instances: their labels."""
        return int(self.certified_labels.sum())

    @property
    def inputs(self) -> int:
        """Number of certified inputs."""
        return int(self.inversion.inputs_certified.sum())

    @property
    def is_whole(self) -> bool:
        """Whether all that the gradient holds is certified, inputs and labels."""
        return bool(self.inversion.rank) and self.inputs == self.inversion.rank

    @property
    def reads(self) -> str:
        """What the inputs are."""
        first = self.seen.network.layers[0].weight.shape[1]
        if self.seen.shows_images:
            return "images"
        return f"inputs of {self.seen.chain.layers[self.seen.first].weight} ({first} numbers each)"


def exact(observation: Observation) -> Exact:
    """Invert the linear layers at the model's end.

    In training mode dropout and BatchNorm between two layers do what the server cannot know. The layers after them hold
    all the same, so where not everything is certified the chain is cut there, and at last down to the head alone; the
    result with most certified labels, then images, is kept.

    Args:
        observation: what the server sees; the scale of the gradient does not matter.

    Raises:
        InputError: the gradients of the last layer's weight and bias were not sent.
    """
    seen = see(observation)
    best: Exact | None = None
    for first in _cuts(seen):
        part = seen.without_first(first)
        found = _inverted(part, observation)
        if best is None or (found.certified, found.inputs) > (best.certified, best.inputs):
            best = found
        if best.is_whole:
            break
    assert best is not None
    return best


def _inverted(seen: Seen, observation: Observation) -> Exact:
    """Invert layers; without a batch size, and in vain, once more with the smallest rank of them in its place.

    In the difference of two files of weights, the rounding of the weights disturbs the gradient by more than its own
    type tells, so that the rank of wide layers is unclear.
    """
    found = Exact(seen, seen.invert(observation.batch_size))
    if observation.batch_size is None and not found.certified:
        ranks = [span.rank for span in seen.spans(None)]
        if 0 < min(ranks) < max(ranks):
            found = Exact(seen, seen.invert(min(ranks)))
    if not _stands(found, observation):
        return replace(found, inversion=_without_certificates(found.inversion))
    return replace(found, inversion=_counted(found.inversion, observation.batch_size))


def _counted(inversion: Inversion, batch_size: int | None) -> Inversion:
    """Return each image once, unless repeated ones make up a batch of the size that was told.

    With class weights in the loss an image counts as often as its class weighs, which an audit cannot tell from
    repetition; the factor of the gradient is not known then either.
    """
    repeated = bool((inversion.multiplicity > 1).any())
    if not repeated or int(inversion.multiplicity.sum()) == batch_size:
        return inversion
    return replace(inversion, multiplicity=torch.ones_like(inversion.multiplicity), batch_size=0.0)


def _stands(found: Exact, observation: Observation) -> bool:
    """Whether certificates that no following layer confirms hold without trusting the client's loss.

    If targets are mixtures of labels (mixup), a mean of features can pass for one image of the head, but it neither
    makes up the whole gradient nor pairs with itself as one image of the batch does. An audit cannot know the loss, so
    it asks for one of the two.
    """
    inversion = found.inversion
    complete = len(inversion.labels) == inversion.rank and bool(inversion.labels_certified.all())
    if inversion.kind == "forward" or complete or not inversion.batch_size:
        return True
    B = observation.batch_size
    if B is None:
        return False
    usual = [1.0, float(B), by_last_layer(head_of(observation.model), observation.gradients, B)]
    factor = B / inversion.batch_size
    return any(each is not None and abs(factor / each - 1) <= SHARP for each in usual)


def _without_certificates(inversion: Inversion) -> Inversion:
    no = torch.zeros_like(inversion.labels_certified)
    return replace(inversion, inputs_certified=no, labels_certified=no)


def _cuts(seen: Seen) -> list[int]:
    """Return how many layers to leave out, in the order to try."""
    layers = seen.chain.layers[seen.first :]
    unlike = [
        number + 1 for number, layer in enumerate(layers[:-1]) if layer.dropout or "batch_norm" in layer.activation_name
    ]
    return sorted({0, *unlike[-1:], len(layers) - 1})
