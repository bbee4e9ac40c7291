"""Backward consistency: with its label, an input's errors must lie in the column spaces of the gradients.

With the head alone (no layer before it) this is head consistency: softmax(W h + b) - onehot(y) lies in the column space
of the last layer's gradient.
"""

from collections.abc import Iterator, Sequence

from torch import Tensor

from gradleak.attacks.exact.affine import Affine
from gradleak.attacks.exact.network import Network, Pass, second_derivative


class Backward:
    """The part of the errors outside their column spaces over their length, for starts side by side.

    Over their length, because otherwise an input that the network is sure of would do: its errors vanish.

    Args:
        network: the layers.
        affine: where the first layer's input lies.
        lefts: column space [out, r] of each layer's gradient; None for a layer that takes no part.
        labels: [m] int64, the label of each start.
    """

    def __init__(self, network: Network, affine: Affine, lefts: Sequence[Tensor | None], labels: Tensor) -> None:
        self.network, self.affine, self.lefts, self.labels = network, affine, tuple(lefts), labels
        first = network.layers[0]
        self.slope = first.weight @ affine.basis

    def of(self, rows: Tensor) -> "Backward":
        """Return the problem of some of the starts."""
        return Backward(self.network, self.affine, self.lefts, self.labels[rows])

    def cost(self, s: Tensor) -> Tensor:
        """See :class:`gradleak.attacks.exact.levenberg.Problem`."""
        passed = self.network.forward(self.affine.inputs(s))
        total = s.new_zeros(len(s))
        for delta, U in zip(self.network.errors(passed, self.labels), self.lefts, strict=True):
            if U is not None:
                total += outside(delta, U).square().sum(1) / delta.square().sum(1).clamp(min=1e-300)
        return total

    def normal(self, s: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """See :class:`gradleak.attacks.exact.levenberg.Problem`."""
        q = s.shape[1]
        cost, gradient, hessian = s.new_zeros(len(s)), s.new_zeros(len(s), q), s.new_zeros(len(s), q, q)
        for f, J in self.residuals(s):
            cost += f.square().sum(1)
            gradient += (f[:, None] @ J)[:, 0]
            hessian += J.mT @ J
        return cost, gradient, hessian

    def residuals(self, s: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Return f [m, out] and its derivative by s [m, out, q] for every layer that takes part."""
        passed = self.network.forward(self.affine.inputs(s))
        errors = self.network.errors(passed, self.labels)
        found = []
        for index, tangent in error_tangents(self.network, passed, errors, self.slope):
            U, delta = self.lefts[index], errors[index]
            if U is None:
                continue
            size = delta.norm(dim=1)[:, None].clamp(min=1e-150)
            f = outside(delta, U) / size
            J = tangent - U @ (U.T @ tangent)
            along = (delta[:, None] @ tangent)[:, 0] / size.square()
            found.append((f, J / size[..., None] - f[..., None] * along[:, None]))
        return found


def error_tangents(
    network: Network, passed: Pass, errors: Sequence[Tensor], slope: Tensor
) -> Iterator[tuple[int, Tensor]]:
    """Yield every layer's number and the derivative of its errors by the unknowns, [m, out, q], the last layer first.

    Args:
        network: the layers.
        passed: m inputs on their way.
        errors: theirs, of every layer.
        slope: derivative of the first layer's outputs by the unknowns, [out, q].
    """
    tangents = []  # of every layer's a, [m, out, q] or [1, out, q] for the first
    T = slope[None]
    for layer, of_activation in zip(network.layers[1:], passed.slopes, strict=True):
        tangents.append(T)
        T = layer.weight @ (of_activation[..., None] * T)
    p = passed.probabilities
    tangent = p[..., None] * (T - (p[:, None] @ T))
    yield len(network.layers) - 1, tangent
    for index in reversed(range(len(network.layers) - 1)):
        following = network.layers[index + 1].weight
        curved = second_derivative(network.layers[index], passed.outputs[index]) * (errors[index + 1] @ following)
        straight = passed.slopes[index][..., None] * (following.T @ tangent)
        tangent = curved[..., None] * tangents[index] + straight
        yield index, tangent


def outside(x: Tensor, space: Tensor) -> Tensor:
    """Return the part of x [..., n] outside the column space of an orthonormal [n, r]."""
    return x - (x @ space) @ space.T
