"""The linear layers at the end of a network, as the equations of exact inversion need them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor


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


@dataclass(frozen=True)
class Pass:
    """What n inputs become on their way through the layers.

    Attributes:
        inputs: h of every layer, [n, in].
        slopes: derivative of every activation, [n, out]; one fewer than layers.
        probabilities: softmax of the last layer's output, [n, C].
    """

    inputs: tuple[Tensor, ...]
    slopes: tuple[Tensor, ...]
    probabilities: Tensor

    def select(self, index: Tensor) -> "Pass":
        """Return that of some of the inputs."""
        return replace(
            self,
            inputs=tuple(h[index] for h in self.inputs),
            slopes=tuple(d[index] for d in self.slopes),
            probabilities=self.probabilities[index],
        )


@dataclass(frozen=True)
class Network:
    """Linear layers in a row, h -> W h + b -> activation -> ... -> logits.

    Attributes:
        layers: from the first to the head.
    """

    layers: tuple[Layer, ...]

    @property
    def num_classes(self) -> int:
        """C."""
        return len(self.layers[-1].bias)

    def forward(self, h: Tensor) -> Pass:
        """Pass inputs [n, in] of the first layer through all layers."""
        inputs, slopes = [h], []
        for layer in self.layers[:-1]:
            a = h @ layer.weight.T + layer.bias
            h, slope = activate(layer, a)
            inputs.append(h)
            slopes.append(slope)
        head = self.layers[-1]
        return Pass(tuple(inputs), tuple(slopes), torch.softmax(h @ head.weight.T + head.bias, dim=1))

    def errors(self, passed: Pass, labels: Tensor) -> list[Tensor]:
        """Return dLoss/da of every layer, [n, out], of the cross-entropy of each input with its label [n]."""
        delta = passed.probabilities.clone()
        delta[torch.arange(len(labels)), labels] -= 1
        found = [delta]
        for layer, slope in zip(reversed(self.layers[1:]), reversed(passed.slopes), strict=True):
            delta = slope * (delta @ layer.weight)
            found.append(delta)
        return found[::-1]

    def errors_of_all_labels(self, passed: Pass, index: int, n: int) -> list[Tensor]:
        """Return dLoss/da of every layer for every label, [C, out], of input ``n``; layers from ``index`` on."""
        C = self.num_classes
        delta = passed.probabilities[n].expand(C, C) - torch.eye(C, dtype=torch.float64, device=passed.slopes[0].device)
        found = [delta]
        for layer, slope in zip(reversed(self.layers[index + 1 :]), reversed(passed.slopes[index:]), strict=True):
            delta = slope[n] * (delta @ layer.weight)
            found.append(delta)
        return found[::-1]


def activate(layer: Layer, a: Tensor) -> tuple[Tensor, Tensor]:
    """Return the next layer's input and the derivative, both of a's shape [..., out]."""
    assert layer.activation is not None
    flat = a.detach().reshape(-1, a.shape[-1]).requires_grad_()
    with torch.enable_grad():
        h = layer.activation(flat)
        (slope,) = torch.autograd.grad(h.sum(), flat)
    return h.detach().reshape(a.shape), slope.reshape(a.shape)


def augmented(h: Tensor) -> Tensor:
    """Return h with a last entry of 1, which stands for the bias: [n, in] -> [n, in + 1]."""
    return torch.cat([h, h.new_ones(*h.shape[:-1], 1)], dim=-1)


def build(weights: Sequence[tuple[Tensor, Tensor]], activations: Sequence[Callable[[Tensor], Tensor]]) -> Network:
    """Return a network of (W, b) and the activations between them."""
    functions = [*activations, None]
    return Network(
        tuple(
            Layer(W.detach().double(), b.detach().double(), f)
            for (W, b), f in zip(weights, functions, strict=True)
        )
    )
