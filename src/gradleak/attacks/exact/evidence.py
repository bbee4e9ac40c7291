"""What speaks for a candidate: how far it is from its spans, beside how far noise alone would put it."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from gradleak.attacks.exact.affine import Affine
from gradleak.attacks.exact.backward import Backward, error_tangents, outside
from gradleak.attacks.exact.fitting_labels import fitting_labels
from gradleak.attacks.exact.kinks import EXCESS, settled_errors
from gradleak.attacks.exact.known import Known
from gradleak.attacks.exact.network import Network, Pass, augmented
from gradleak.attacks.exact.spans import Span
from gradleak.attacks.exact.turned import turned_errors
from gradleak.attacks.exact.uncertainty import Uncertainty

LOOSE = 1e-2
"""Predicted relative error of an input beyond which its delta is looked at by itself."""

_CHUNK = 2**25
"""Numbers of the errors of all labels that are computed at once."""


@dataclass(frozen=True)
class Evidence:
    """Tests of k candidates.

    Attributes:
        inputs: h [k, in].
        labels: [k] int64, the label whose errors fit the column spaces best.
        forward: [k] what the following layers' inputs have outside their row spaces, over what noise would leave there,
            or how far the equations of other images are from holding, whichever is worse; 0 where no row space takes
            part.
        backward: [k] the same of the errors and their column spaces, in the worst layer.
        margin: [k] how many times farther the second-best label's errors are outside, over their length.
        by_sign: [k] bool, whether the margin rests on the signs of pairings, and so on that of the gradient.
        error: [k] predicted relative error of h, root mean square.
        unseen: [k] relative deviation of the following layers' inputs that noise would hide. Images too weak to be seen
            may shift h by as much where their errors point the same way.
        of_errors: [k] the same of delta, in the worst layer. Delta may be known where h is not: see
            :meth:`gradleak.attacks.exact.peel.Peeling.run`.
        of_directions: [k] the same of the direction of delta, its length aside.
        strength: [k] the smaller, the stronger an image is in the gradient: length of its input's dual.
        errors: delta of every layer, [k, out].
    """

    inputs: Tensor
    labels: Tensor
    forward: Tensor
    backward: Tensor
    margin: Tensor
    by_sign: Tensor
    error: Tensor
    unseen: Tensor
    of_errors: Tensor
    of_directions: Tensor
    strength: Tensor
    errors: tuple[Tensor, ...]

    def __len__(self) -> int:
        return len(self.labels)

    def select(self, index: Tensor) -> "Evidence":
        """Return that of some candidates."""
        values = [getattr(self, field.name)[index] for field in fields(self)[:-1]]
        return Evidence(*values, errors=tuple(delta[index] for delta in self.errors))

    def joined(self, other: "Evidence") -> "Evidence":
        """Return both."""
        values = [torch.cat([getattr(self, field.name), getattr(other, field.name)]) for field in fields(self)[:-1]]
        return Evidence(*values, errors=tuple(map(torch.cat, zip(self.errors, other.errors, strict=True))))


def telling_rows(spans: Sequence[Span]) -> list[int]:
    """Return the layers after the first whose row spaces hold the inputs of all images and leave something out."""
    return [
        i
        for i in range(1, len(spans))
        if spans[i].rank and spans[i].rank < len(spans[i].right) - 1 and spans[i].holds_all_of(spans[0])
    ]


def fixing_rows(spans: Sequence[Span]) -> list[int]:
    """Return the layers right after the first whose row spaces fix an input: as few as give equations to spare."""
    chosen: list[int] = []
    equations = 0
    for i in telling_rows(spans):
        if i != len(chosen) + 1 or equations > 1.5 * spans[0].rank:
            break
        chosen.append(i)
        equations += len(spans[i].right) - spans[i].rank
    return chosen


def looks_forward(spans: Sequence[Span]) -> bool:
    """Whether the row spaces of the following layers fix an input; else its own errors must."""
    equations = sum(len(spans[i].right) - spans[i].rank for i in fixing_rows(spans))
    return equations >= spans[0].rank + EXCESS


def looks_back(spans: Sequence[Span]) -> bool:
    """Whether the column spaces fix an input and its label."""
    equations = sum(len(spans[i].left) - spans[i].rank for i in telling_columns(spans))
    return equations >= spans[0].rank + EXCESS


def telling_columns(spans: Sequence[Span]) -> list[int]:
    """Return the layers whose column spaces hold the errors of all images and leave something out."""
    return [
        i
        for i, span in enumerate(spans)
        if span.rank and span.rank < len(span.left) - 1 and span.holds_all_of(spans[0])
    ]


def examine(network: Network, spans: Sequence[Span], h: Tensor, known: Known | None = None) -> Evidence:
    """Test candidates h [k, in] against the spans of the whole gradient.

    Args:
        network: the layers.
        spans: of the gradient of each.
        h: inputs of the first layer, in its row space.
        known: equations that other images give for them.
    """
    passed = network.forward(h)
    t = augmented(h) @ spans[0].right
    noise = spans[0].input_noise(t)  # of an entry of h
    rows = fixing_rows(spans) if looks_forward(spans) else []
    before, spread = spreads(network, passed, noise)
    labels, margin, by_sign = fitting_labels(network, spans, telling_columns(spans), passed, t, before)
    errors = settled_errors(
        network,
        [spans[i].left if i in telling_columns(spans) else None for i in range(len(spans))],
        passed,
        labels,
        before,
    )
    size, beyond = h.norm(dim=1), noise.square() * h.shape[1]
    if rows:
        forward, unseen, uncertainty = _row_spaces(network, spans, passed, spread, rows, known)
        error = torch.sqrt(uncertainty.of_unknowns().square() + beyond) / size
        of_errors = _of_errors(network, spans, passed, errors, uncertainty, error)
    else:
        forward = unseen = h.new_zeros(len(h))
        error = torch.sqrt(_column_spaces(network, spans, h, labels, noise).square() + beyond) / size
        of_errors = error
    backward = _backward(network, spans, passed, errors, of_errors)
    strength = (t / spans[0].values).norm(dim=1)
    columns = [span if i in telling_columns(spans) else None for i, span in enumerate(spans)]
    errors, of_directions = turned_errors(
        network, columns, passed, labels, errors, of_errors, own_rounding(network, passed, errors)
    )
    return Evidence(
        h, labels, forward, backward, margin, by_sign, error, unseen, of_errors, of_directions, strength, errors
    )


def _of_errors(
    network: Network,
    spans: Sequence[Span],
    passed: Pass,
    errors: Sequence[Tensor],
    uncertainty: Uncertainty,
    error: Tensor,
) -> Tensor:
    """Return the predicted relative error of delta, [k]: that of the input, but where an input is not fixed.

    The units that a ReLU holds at 0 change neither the next layer's input nor any delta.
    """
    h = passed.inputs[0]
    result = error.clone()
    slope = network.layers[0].weight @ Affine(spans[0].right).basis
    loose = torch.nonzero(error > LOOSE).flatten()
    for part in loose.split(max(1, _CHUNK // slope.numel())) if slope.numel() else ():
        inside = uncertainty.of(part).through(
            error_tangents(network, passed.of(part), [delta[part] for delta in errors], slope),
            [delta[part].norm(dim=1) for delta in errors],
            bound=h[part].norm(dim=1),
        )
        result[part] = torch.minimum(error[part], inside + spans[0].input_noise(augmented(h[part]) @ spans[0].right))
    return result


def spreads(network: Network, passed: Pass, noise: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Standard deviations of the entries of every layer's output but the last's, and of every layer's input.

    They are due to noise of the first input, and to rounding of the client's sums.
    """
    before: list[Tensor] = []
    spread = [noise[:, None].expand(-1, passed.inputs[0].shape[1])]
    for i, layer in enumerate(network.layers[:-1]):
        through = torch.sqrt(spread[-1].square() @ layer.squares.T)
        size = torch.sqrt(passed.inputs[i].square() @ layer.squares.T) + layer.bias.abs()
        rounded = torch.maximum(2 * network.rounding * size, _computed(network, i, passed.inputs[i]))
        before.append(torch.sqrt(through.square() + rounded.square()))
        spread.append(passed.slopes[i].abs() * before[-1])
    return before, spread


def _computed(network: Network, number: int, h: Tensor) -> Tensor:
    """Return how far a layer's outputs are off when they are computed in the client's type, root mean square, [k, 1].

    Sums round by the size of what they add up on the way, which may be far above that of their terms.
    """
    layer, dtype = network.layers[number], network.computed_in
    coarse = torch.nn.functional.linear(h.to(dtype), layer.weight.to(dtype), layer.bias.to(dtype))
    return (coarse.double() - h @ layer.weight.T - layer.bias).square().mean(1, keepdim=True).sqrt()


def _row_spaces(
    network: Network,
    spans: Sequence[Span],
    passed: Pass,
    spread: list[Tensor],
    rows: list[int],
    known: Known | None,
) -> tuple[Tensor, Tensor, Uncertainty]:
    """Return residual over expected residual, and expected residual over the input that leaves it, both [k] and of the
    worst layer, and what is uncertain within the first row space.

    All telling layers test, but only those that fix the inputs count for the error: the search solved their equations.
    """
    k = len(passed.logits)
    ratio, unseen = passed.logits.new_zeros(2, k)
    T = Affine(spans[0].right).basis[None]
    gram, noisy = None, None
    for i in telling_rows(spans):
        V, z = spans[i].right, augmented(passed.inputs[i])
        variance = spread[i].square() + spans[i].input_noise(z @ V).square()[:, None]
        variance = torch.cat([variance, variance.mean(1, keepdim=True)], dim=1)
        expected = torch.sqrt(variance.sum(1) * (1 - V.shape[1] / len(V)))
        ratio = torch.maximum(ratio, outside(z, V).norm(dim=1) / expected)
        if i not in rows:
            continue
        unseen = torch.maximum(unseen, expected / z.norm(dim=1))
        T = passed.slopes[i - 1][..., None] * (network.layers[i - 1].weight @ T)
        J = torch.cat([T, T.new_zeros(k, 1, T.shape[2])], dim=1)
        J = J - V @ (V.T @ J)
        weighted = variance.sqrt()[..., None] * J
        gram = J.mT @ J if gram is None else gram + J.mT @ J
        noisy = weighted.mT @ weighted if noisy is None else noisy + weighted.mT @ weighted
    assert gram is not None
    assert noisy is not None
    if known is not None:
        also = known.gram()
        gram, noisy = gram + also, noisy + known.variance[:, None, None] * also
        s = Affine(spans[0].right).unknowns(augmented(passed.inputs[0]) @ spans[0].right)
        ratio = torch.maximum(ratio, known.excess(s))
    return ratio, unseen, Uncertainty(gram, noisy)


def _column_spaces(network: Network, spans: Sequence[Span], h: Tensor, labels: Tensor, noise: Tensor) -> Tensor:
    """Return the error within the row space that the noise of the column spaces predicts, [k]."""
    affine = Affine(spans[0].right)
    columns = telling_columns(spans)
    lefts = [span.left if i in columns else None for i, span in enumerate(spans)]
    problem = Backward(network, affine, lefts, labels)
    s = affine.unknowns(augmented(h) @ spans[0].right)
    passed = network.forward(h)
    errors = network.errors(passed, labels)
    gram, noisy = None, None
    for (_, J), i in zip(problem.residuals(s), reversed(columns), strict=True):
        delta, span = errors[i], spans[i]
        own = own_rounding(network, passed, errors)
        size = delta.norm(dim=1)
        through = noise * torch.linalg.matrix_norm(J) / h.shape[1] ** 0.5
        variance = (
            (span.error_noise(delta @ span.left) / size).square() + own.square() / delta.shape[1] + through.square()
        )
        square = J.mT @ J
        gram = square if gram is None else gram + square
        noisy = variance[:, None, None] * square if noisy is None else noisy + variance[:, None, None] * square
    assert gram is not None
    assert noisy is not None
    return Uncertainty(gram, noisy).of_unknowns()


def own_rounding(network: Network, passed: Pass, errors: Sequence[Tensor]) -> Tensor:
    """Relative error of the client's own errors, [k]: those of p - y, which is small where the network is sure."""
    p = passed.probabilities
    rounded = network.rounding * (0.5 + 2 * (1 + passed.logits.abs().amax(1)) * p.norm(dim=1))
    return rounded / errors[-1].norm(dim=1).clamp(min=1e-300)


def _backward(
    network: Network, spans: Sequence[Span], passed: Pass, errors: Sequence[Tensor], of_errors: Tensor
) -> Tensor:
    ratio = torch.zeros_like(of_errors)
    own = own_rounding(network, passed, errors)
    for i in telling_columns(spans):
        span, delta = spans[i], errors[i]
        noise = span.error_noise(delta @ span.left).square() * (len(span.left) - span.rank)
        expected = torch.sqrt(noise + ((of_errors + own) * delta.norm(dim=1)).square())
        ratio = torch.maximum(ratio, outside(delta, span.left).norm(dim=1) / expected)
    return ratio
