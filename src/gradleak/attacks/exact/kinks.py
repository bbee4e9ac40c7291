"""Errors of inputs that lie at a kink of an activation for some unit: rounding alone decides on which side.

On the wrong side the unit's error is wrong by its whole size, though the input is right. So the unit's error is taken
from the column space, to which the errors of all other units point.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from gradleak.attacks.exact.network import Network, Pass, activate

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
            layer, a, near = network.layers[index], passed.outputs[index], _NEAR * spread[index]
            open_ = (activate(layer, a + near)[1] - activate(layer, a - near)[1]).abs() > _JUMP
            delta = _completed(delta, open_, left)
        errors.append(delta)
    return tuple(errors[::-1])


def _completed(delta: Tensor, open_: Tensor, left: Tensor) -> Tensor:
    """Return errors [k, out] with those of open units [k, out] replaced by what the others say in a space [out, r].

    Only where the space then holds them far better: most units near a kink are on their side.
    """
    delta = delta.clone()
    for n in torch.nonzero(open_.any(1)).flatten().tolist():
        sure = ~open_[n]
        if int(sure.sum()) < left.shape[1] + EXCESS:
            continue
        c = torch.linalg.lstsq(left[sure], delta[n, sure, None]).solution[:, 0]
        whole = torch.where(sure, delta[n], left @ c)
        if float((whole - left @ c).norm()) < _BETTER * float((delta[n] - left @ (left.T @ delta[n])).norm()):
            delta[n] = whole
    return delta
