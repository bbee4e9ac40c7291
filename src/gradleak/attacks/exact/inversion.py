"""Exact inversion of a batch gradient: what is found, and what is certified of it."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gradleak.attacks.exact.evidence import looks_forward, telling_columns
from gradleak.attacks.exact.fitting_labels import APART
from gradleak.attacks.exact.network import Network
from gradleak.attacks.exact.pairing import multiplicities, pairings
from gradleak.attacks.exact.peel import KNOWN, Peeling
from gradleak.attacks.exact.spans import decomposed
from gradleak.attacks.exact.whole import contradicts

STATED = 10.0
"""Stated error over predicted root mean square error."""

COUNTS = 1e-2
"""Stated relative error up to which an input is certified."""

CERTAIN_NEAR = 3.0
"""Largest residual of an input that is certified, over the one that noise predicts."""

NEARLY = 0.1
"""Stated relative error up to which the label of an input is certified."""


@dataclass(frozen=True)
class Inversion:
    """What the gradient of a batch gives away.

    Attributes:
        inputs: [k, in] float64, inputs of the first layer.
        labels: [k] int64.
        multiplicity: [k] int64, how often each is in the batch, at least.
        mixture: [k] int64; an input is certified as a weighted mean of at most so many inputs of the batch, which the
            noise of the gradient cannot tell apart. Weights may be negative.
        error: [k] stated relative error of each input, |h - h true| / |h true|; not above it where certified.
        inputs_certified: [k] bool.
        labels_certified: [k] bool: label and multiplicity.
        rank: how many different images the gradient holds above its noise.
        batch_size: B over the scale of the gradient: B for a mean, 1 for a sum; what the pairings say.
        kind: ``forward`` if following layers fixed the inputs, ``backward`` or, with the last layer alone,
            ``head`` if their errors did, which is weaker.
    """

    inputs: Tensor
    labels: Tensor
    multiplicity: Tensor
    mixture: Tensor
    error: Tensor
    inputs_certified: Tensor
    labels_certified: Tensor
    rank: int
    batch_size: float
    kind: str


def invert(
    network: Network,
    gradients: Sequence[Tensor],
    *,
    precision: torch.dtype,
    batch_size: int | None,
) -> Inversion:
    """Find the inputs and labels of a batch from the gradients of linear layers in a row.

    Args:
        network: the layers.
        gradients: [dL/dW | dL/db] of each, [out, in + 1], float64.
        precision: type in which the client sent them.
        batch_size: B, or None if unknown.
    """
    spans = decomposed(gradients, precision=precision, batch_size=batch_size)
    peeling = Peeling(network, tuple(spans))
    found = peeling.run()
    rank = spans[0].rank
    kind = "forward" if looks_forward(spans) else "head" if len(spans) == 1 else "backward"
    certain = None if found is None else peeling.certain(found)
    if certain is None:
        weight = network.layers[0].weight
        none, inputs = weight.new_zeros(0, dtype=torch.int64), weight.new_zeros(0, weight.shape[1])
        error, no = inputs[:, 0], none.bool()
        return Inversion(inputs, none, none, none, error, no, no, rank, float(batch_size or 0), kind)
    found, wandering = certain
    pairs = pairings(network, spans, found)
    times = multiplicities(pairs, batch_size)
    stated = torch.maximum(STATED * torch.maximum(found.error, found.unseen), 2 * wandering)
    certifiable = kind == "forward" or not any(layer.has_kinks for layer in network.layers)
    firm = (found.forward < CERTAIN_NEAR) & (found.backward < CERTAIN_NEAR) & (found.margin > APART)
    all_known = len(found) == rank and bool((found.of_errors < KNOWN).all())
    if all_known and contradicts(network, spans, found, times.certain, times.batch_size):
        certifiable = False
    # Of a negated gradient the second most likely class would fit, at a scale that its image alone speaks for.
    firm &= ~(found.by_sign & times.alone)
    labels_certified = times.told & firm & certifiable & (stated <= NEARLY) & bool(telling_columns(spans))
    inputs_certified = (stated <= COUNTS) & labels_certified
    return Inversion(
        inputs=found.inputs,
        labels=found.labels,
        multiplicity=times.certain,
        mixture=times.most + times.others.long(),
        error=stated,
        inputs_certified=inputs_certified,
        labels_certified=labels_certified,
        rank=rank,
        batch_size=times.batch_size,
        kind=kind,
    )
