"""Whether the images that were found make up the whole gradient, in every layer."""

from collections.abc import Sequence

import torch
from torch import Tensor

from gradleak.attacks.exact.evidence import Evidence, own_rounding
from gradleak.attacks.exact.network import Network, augmented
from gradleak.attacks.exact.spans import Span

_LIMIT = 10.0
"""Deviation over predicted deviation that counts as a contradiction."""


def contradicts(network: Network, spans: Sequence[Span], found: Evidence, times: Tensor, size: float) -> bool:
    """Whether a layer's gradient differs from that of the images by more than noise and their own errors explain.

    Only for images that are all there are: without one of them every layer differs.

    Args:
        network: the layers.
        spans: of the gradient of each.
        found: the images.
        times: [k] how often each is in the batch.
        size: batch size over the scale of the gradient.
    """
    passed = network.forward(found.inputs)
    own = own_rounding(network, passed, found.errors)
    weight = times.double() / size
    for span, delta, h in zip(spans, found.errors, passed.inputs, strict=True):
        made = (weight[:, None] * delta).T @ augmented(h)
        sizes = weight * delta.norm(dim=1) * augmented(h).norm(dim=1)
        even = span.noise * span.gradient.numel() ** 0.5
        expected = torch.sqrt(((found.error + own) * sizes).square().sum() + even**2)
        if float((span.gradient - made).norm()) > _LIMIT * float(expected):
            return True
    return False
