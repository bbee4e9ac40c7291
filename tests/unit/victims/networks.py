"""Small networks, and their chains of linear layers compared with what they compute."""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from gradleak.victims.layers import Chain, linear_chain

IMAGES = torch.linspace(-1, 1, 3 * 3 * 4 * 4).reshape(3, 3, 4, 4).sin()


class Network(nn.Module):
    """Layers by name and a forward method in one line."""

    def __init__(self, forward: Callable[..., object], **layers: nn.Module):
        super().__init__()
        self.steps = forward
        for name, layer in layers.items():
            setattr(self, name, layer)

    def forward(self, x: Tensor) -> object:
        return self.steps(self, x)


def linear(d: int, C: int, **kwargs: bool) -> nn.Linear:
    torch.manual_seed(d * 100 + C)
    return nn.Linear(d, C, **kwargs)


def chain_of(model: nn.Module, logits: Callable[[Any, Tensor], Tensor] | None = None) -> Chain:
    """Return the chain after checking that it composes to the logits for images other than the example."""
    return composed(model, IMAGES[:2], IMAGES.flip(0), logits)


def composed(
    model: nn.Module, example: Tensor, images: Tensor, logits: Callable[[Any, Tensor], Tensor] | None = None
) -> Chain:
    chain = linear_chain(model, example)
    parameters = dict(model.named_parameters())
    x = chain.body(images)
    for layer, given in zip(chain.layers, chain.inputs(images), strict=True):
        torch.testing.assert_close(x, given, rtol=1e-5, atol=1e-5)
        z = functional.linear(x, parameters[layer.weight], None if layer.bias is None else parameters[layer.bias])
        assert (layer.in_features, layer.out_features) == (x.shape[1], z.shape[1])
        x = layer.activation(z) if layer.activation else z
    evaluated = copy.deepcopy(model).eval()
    torch.testing.assert_close(x, (logits or (lambda m, x: m(x)))(evaluated, images), rtol=1e-5, atol=1e-5)
    if chain.reads_input:
        assert torch.equal(chain.body(images), images.flatten(1))
    assert chain.layers[-1].activation is None
    return chain


def names(chain: Chain) -> list[str]:
    return [layer.weight for layer in chain.layers]
