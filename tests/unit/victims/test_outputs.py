"""Where the logits are in what a network returns."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from tests.unit.victims.networks import IMAGES, Network, chain_of, linear, names
from torch import Tensor, nn
from torch.nn import functional

from gradleak.errors import InputError
from gradleak.victims.layers import linear_chain


@dataclass
class Output:
    """Output type of some libraries' models."""

    logits: Tensor
    hidden: Tensor


@pytest.mark.parametrize(
    "wrap",
    [
        lambda z, h: {"hidden": h, "logits": z},
        lambda z, h: {"z": z, "loss": None},
        lambda z, h: (z,),
        lambda z, h: Output(z, h),
    ],
)
def test_outputs_that_hold_the_logits(wrap: Callable[[Tensor, Tensor], object]):
    plain = nn.Sequential(nn.Flatten(), linear(48, 6), nn.Tanh(), linear(6, 4))
    model = Network(lambda self, x: wrap(self.plain(x), x), plain=plain)
    chain = chain_of(model, lambda model, x: model.plain(x))
    assert names(chain) == ["plain.1.weight", "plain.3.weight"]


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_a_final_softmax_is_left_out(name: str):
    def forward(self: Any, x: Tensor) -> Tensor:
        return getattr(functional, name)(self.plain(x), dim=1)

    plain = nn.Sequential(nn.Flatten(), linear(48, 4))
    chain = chain_of(Network(forward, plain=plain), lambda model, x: model.plain(x))
    assert chain.output_function == name
    assert chain_of(plain).output_function is None


@pytest.mark.parametrize(
    ("forward", "message"),
    [
        (lambda self, x: self.conv(x).flatten(1), "its logits come from conv2d at conv, not from a linear layer"),
        (lambda self, x: self.last(x.flatten(1)).sigmoid(), "its output is that of sigmoid in forward()"),
        (lambda self, x: (self.last(x.flatten(1)), x), "it returns a tuple with 2 tensors"),
        (lambda self, x: "logits", "it returns a str with 0 tensors"),
        (lambda self, x: self.last(x), "its pass of images [2, 3, 4, 4] fails, in last: RuntimeError: "),
        (lambda self, x: functional.dropout(self.last(x.flatten(1))), "its logits come from dropout in forward()"),
        (
            lambda self, x: self.twice(self.twice(x.flatten(1))),
            "linear at twice, whose weight twice.weight is used 2 times",
        ),
    ],
)
def test_models_without_a_last_linear_layer(forward: Callable, message: str):
    layers = {"conv": nn.Conv2d(3, 3, 1), "last": linear(48, 4), "twice": linear(48, 48)}
    with pytest.raises(InputError) as caught:
        linear_chain(Network(forward, **layers), IMAGES[:2])
    assert str(caught.value).startswith("model Network: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
