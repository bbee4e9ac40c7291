"""Activations without kinks, for the first steps of a search.

A ReLU's kinks are what a search sticks at: at B = 100 and width 300 (three batches of MNIST, untrained FCN-3) 16 of 900
starts reach an image, of those that begin with blurred kinks 391 (``bench/exact_starts.py``).
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from gradleak.attacks.exact.network import Layer, Network

BLURS: tuple[tuple[float, ...], ...] = ((0.7, 0.35), (0.1,), ())
"""Standard deviations of the blur over that of a unit's outputs from start to start, one after the other. No sequence
is best for every victim, so the search takes the one whose last round gave most."""

_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(9)
_WEIGHTS = _WEIGHTS / _WEIGHTS.sum()


def smoothed(network: Network, h: Tensor, width: float, units: Tensor | None = None) -> Network:
    """Return the network with every activation averaged over a normal distribution around its argument.

    Args:
        network: the layers.
        h: [n, in] inputs, whose outputs say how wide the blur is.
        width: one of a sequence of :data:`BLURS`.
        units: outputs of the first layer that will be asked for; all by default.
    """
    layers = []
    for layer in network.layers[:-1]:
        assert layer.activation is not None
        a = h @ layer.weight.T + layer.bias
        h = layer.activation(a)
        shift = width * a.std(0)
        shift = shift if units is None or layers else shift[units]
        layers.append(Layer(layer.weight, layer.bias, _blurred(layer.activation, shift)))
    return Network((*layers, network.layers[-1]), network.computed_in)


def _blurred(activation: Callable[[Tensor], Tensor], width: Tensor) -> Callable[[Tensor], Tensor]:
    def blurred(a: Tensor) -> Tensor:
        total, shift = torch.zeros_like(a), width.to(a.dtype)
        for node, weight in zip(_NODES, _WEIGHTS, strict=True):
            total = total + float(weight) * activation(a + shift * float(node))
        return total

    return blurred
