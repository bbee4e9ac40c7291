"""Errors of inputs that lie at a kink of an activation for some unit: rounding alone decides on which side.

On the wrong side the unit's error is wrong by its whole size, though the input is right. So the unit's error is taken
from the column space, to which the errors of all other units point.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from gradleak.attacks.exact.backward import outside
from gradleak.attacks.exact.network import Layer, Network, Pass, activate

EXCESS = 4
"""Equations beyond the number of unknowns that a search needs: each makes a root by chance less likely by far."""

_NEAR = 4.0
"""Standard deviations of a unit's output within which a kink may be on either side."""

_JUMP = 0.05
"""Difference of slopes that counts as a kink."""

_BETTER = 0.1
"""Part outside the column space with a unit's error replaced over that without, up to which the unit was misplaced."""


def settled_errors(
    network: Network, lefts: Sequence[Tensor | None], passed: Pass, labels: Tensor, spread: Sequence[Tensor]
) -> tuple[Tensor, ...]:
    """Return the errors of every layer, [k, out], as :meth:`gradleak.attacks.exact.network.Network.errors`.

    Args:
        network: the layers.
        lefts: column space [out, r] of each layer's gradient; None for one that tells nothing of errors.
        passed: k inputs on their way.
        labels: [k].
        spread: standard deviation of the outputs of every layer but the last, [k, out].
    """
    delta = passed.probabilities.clone()
    delta[torch.arange(len(labels), device=labels.device), labels] -= 1
    errors = [delta]
    for index in reversed(range(len(network.layers) - 1)):
        delta = passed.slopes[index] * (delta @ network.layers[index + 1].weight)
        left = lefts[index]
        if left is not None:
            open_ = open_units(network.layers[index], passed.outputs[index], spread[index])
            delta = delta.clone()
            for n in torch.nonzero(open_.any(1)).flatten().tolist():
                delta[n : n + 1] = completed(delta[n : n + 1], open_[n], left)
        errors.append(delta)
    return tuple(errors[::-1])


def open_units(layer: Layer, a: Tensor, spread: Tensor) -> Tensor:
    """Return which units [k, out] bool have a kink so near their output a [k, out] that it may be on either side.

    Args:
        layer: the layer.
        a: its outputs before the activation.
        spread: [k, out] standard deviations of them.
    """
    near = _NEAR * spread
    return (activate(layer, a + near)[1] - activate(layer, a - near)[1]).abs() > _JUMP


def completed(delta: Tensor, open_: Tensor, left: Tensor) -> Tensor:
    """Return errors [n, out] with those of open units [out] replaced by what the others say in a space U [out, r].

    Only where the space then holds them far better: most units near a kink are on their side. What is left outside,
    r = (I - U U^T) delta, is shortest if the open units change by -M^-1 r, with M the open part of I - U U^T.
    """
    units = torch.nonzero(open_).flatten()
    if not len(units) or len(open_) - len(units) < left.shape[1] + EXCESS:
        return delta
    outer = outside(delta, left)
    free = torch.eye(len(units), dtype=left.dtype, device=left.device) - left[units] @ left[units].T
    whole = delta.clone()
    whole[:, units] -= outer[:, units] @ torch.linalg.pinv(free, hermitian=True)
    better = outside(whole, left).norm(dim=1) < _BETTER * outer.norm(dim=1)
    return torch.where(better[:, None], whole, delta)
