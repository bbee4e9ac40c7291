"""The linear layers at the end of a network, as the equations of exact inversion need them."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

# Of float64 the rounding of the many sums here.
ROUNDING = {torch.float64: 2.0**-47, torch.float32: 2.0**-24, torch.float16: 2.0**-11, torch.bfloat16: 2.0**-8}
"""Largest relative rounding error of a number of each type."""


@dataclass(frozen=True)
class Layer:
    """One linear layer a = W h + b, and the function that leads to the next one.

    Attributes:
        weight: W [out, in], float64.
        bias: b [out], float64.
        activation: maps a [n, out] to the next layer's input, entry by entry; None for the last layer.
    """

    weight: Tensor
    bias: Tensor
    activation: Callable[[Tensor], Tensor] | None = None

    @cached_property
    def squares(self) -> Tensor:
        """Squares of W, [out, in]."""
        return self.weight.square()

    @property
    def has_kinks(self) -> bool:
        """Whether the slope of the activation jumps somewhere, as a ReLU's does."""
        if self.activation is None:
            return False
        at = torch.linspace(-4, 4, 8001, dtype=torch.float64, device=self.weight.device)
        grid = at[:, None].expand(-1, self.weight.shape[0])
        _, slope = activate(self, grid)
        return bool((slope.diff(dim=0).abs() > 0.05).any())


@dataclass(frozen=True)
class Pass:
    """What n inputs become on their way through the layers.

    Attributes:
        inputs: h of every layer, [n, in].
        outputs: a of every layer but the last, [n, out].
        slopes: derivative of every activation at a, [n, out]; one fewer than layers.
        logits: output of the last layer [n, C].
        probabilities: their softmax [n, C].
    """

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    slopes: tuple[Tensor, ...]
    logits: Tensor
    probabilities: Tensor

    def of(self, index: Tensor) -> "Pass":
        """Return that of some inputs."""
        inputs, outputs, slopes = (
            tuple(each[index] for each in field) for field in (self.inputs, self.outputs, self.slopes)
        )
        return Pass(inputs, outputs, slopes, self.logits[index], self.probabilities[index])


@dataclass(frozen=True)
class Network:
    """Linear layers in a row: h -> W h + b -> activation -> ... -> logits.

    Attributes:
        layers: from the first to the head.
        computed_in: type in which the client computes; it may send a coarser one.
    """

    layers: tuple[Layer, ...]
    computed_in: torch.dtype = torch.float32

    @property
    def num_classes(self) -> int:
        """C."""
        return len(self.layers[-1].bias)

    @property
    def rounding(self) -> float:
        """Largest relative rounding error of a number that the client computes."""
        return ROUNDING[self.computed_in]

    def to(self, dtype: torch.dtype) -> "Network":
        """Return the network with numbers of another type."""
        layers = (Layer(each.weight.to(dtype), each.bias.to(dtype), each.activation) for each in self.layers)
        return Network(tuple(layers), self.computed_in)

    def forward(self, h: Tensor) -> Pass:
        """Pass inputs h [n, in] of the first layer through all layers."""
        inputs, outputs, slopes = [h], [], []
        for layer in self.layers[:-1]:
            a = h @ layer.weight.T + layer.bias
            h, slope = activate(layer, a)
            outputs.append(a)
            inputs.append(h)
            slopes.append(slope)
        head = self.layers[-1]
        logits = h @ head.weight.T + head.bias
        return Pass(tuple(inputs), tuple(outputs), tuple(slopes), logits, torch.softmax(logits, dim=1))

    def errors(self, passed: Pass, labels: Tensor) -> tuple[Tensor, ...]:
        """Return dLoss/da of every layer, [n, out], for the cross-entropy of each input with its label [n]."""
        delta = passed.probabilities.clone()
        delta[torch.arange(len(labels), device=labels.device), labels] -= 1
        errors = [delta]
        for layer, slope in zip(reversed(self.layers[1:]), reversed(passed.slopes), strict=True):
            delta = slope * (delta @ layer.weight)
            errors.append(delta)
        return tuple(errors[::-1])


def activate(layer: Layer, a: Tensor) -> tuple[Tensor, Tensor]:
    """Return the next layer's input and the derivative of the activation, both [n, out], at a [n, out]."""
    assert layer.activation is not None
    at = a.detach().requires_grad_()
    with torch.enable_grad():
        h = layer.activation(at)
        (slope,) = torch.autograd.grad(h.sum(), at)
    return h.detach(), slope


def second_derivative(layer: Layer, a: Tensor) -> Tensor:
    """Return the second derivative of the activation [n, out] at a [n, out]; zero where it is piecewise linear."""
    assert layer.activation is not None
    at = a.detach().requires_grad_()
    with torch.enable_grad():
        (slope,) = torch.autograd.grad(layer.activation(at).sum(), at, create_graph=True)
        if not slope.requires_grad:
            return torch.zeros_like(a)
        (curve,) = torch.autograd.grad(slope.sum(), at, allow_unused=True, materialize_grads=True)
    return curve


def augmented(h: Tensor) -> Tensor:
    """Return h [..., in] with a last entry of 1, which stands for the bias."""
    return torch.cat([h, h.new_ones(*h.shape[:-1], 1)], dim=-1)
