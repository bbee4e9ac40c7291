"""A chain of linear layers composes to the logits for any network, and ends at the right place."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from tests.unit.victims.networks import Network, chain_of, composed, linear, names
from torch import Tensor, nn
from torch.nn import functional

from gradleak.victims.layers import linear_chain
from gradleak.victims.models.build import build


@pytest.mark.parametrize(
    ("model", "options", "length", "stops_at"),
    [
        *(("fcn", {"n_hidden": n}, n + 2, "the model's input") for n in range(4)),
        ("lenet", {}, 1, "conv2d at body.4"),
        ("lenet5", {}, 3, "max_pool2d at body"),
        ("vgg16", {"dropout": True}, 3, "max_pool2d at body"),
        ("resnet18", {}, 1, "adaptive_avg_pool2d"),
        ("mobilenet_v2", {}, 1, "adaptive_avg_pool2d"),
    ],
)
def test_built_in_victims(model: str, options: dict, length: int, stops_at: str):
    victim = build(model, num_classes=5, channels=3, image_size=32, seed=0, **options)
    images = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    chain = composed(victim, images[:2], images)
    assert len(chain.layers) == length
    assert chain.stops_at.startswith(stops_at)
    assert chain.reads_input == (model == "fcn")
    assert names(chain)[-1] == "head.weight"


def test_sequential_with_every_kind_of_joint():
    model: Any = nn.Sequential(
        nn.Flatten(),
        linear(48, 8),
        nn.BatchNorm1d(8),
        nn.ReLU(inplace=True),
        nn.Dropout(0.5),
        linear(8, 6, bias=False),
        nn.PReLU(6),
        nn.Identity(),
        linear(6, 4),
        nn.Unflatten(1, (2, 2)),
        nn.LeakyReLU(0.3),
        nn.Flatten(),
        linear(4, 4),
        linear(4, 3),
    )
    with torch.no_grad():
        model[2].running_mean.uniform_(-1, 1)
        model[2].running_var.uniform_(0.5, 2)
    chain = chain_of(model)
    assert [(layer.weight, layer.bias, layer.activation_name, layer.dropout) for layer in chain.layers] == [
        ("1.weight", "1.bias", "batch_norm + relu", True),
        ("5.weight", None, "prelu", False),
        ("8.weight", "8.bias", "leaky_relu", False),
        ("12.weight", "12.bias", "identity", False),
        ("13.weight", "13.bias", "", False),
    ]
    assert chain.reads_input
    z = torch.ones(2, 8, dtype=torch.float64)
    activation = chain.layers[0].activation
    assert activation is not None
    assert activation(z).dtype == torch.float64
    assert torch.equal(z, torch.ones_like(z))


ACTIVATIONS: list[Callable[[Tensor], Tensor]] = [
    functional.gelu,
    functional.silu,
    functional.elu,
    functional.softplus,
    functional.logsigmoid,
    functional.hardtanh,
    functional.hardswish,
    lambda z: functional.relu(z, inplace=True),
    lambda z: functional.threshold(z, 0.1, 0.2),
    lambda z: functional.dropout(z, 0.5, training=False),
    torch.relu_,
    torch.sigmoid,
    torch.tanh,
    torch.relu,
    lambda z: z.relu_(),
    lambda z: z.tanh(),
    lambda z: z.clamp(min=-0.1, max=0.2),
    lambda z: (1 - 2 * z + 0.5) / 3,
    lambda z: -(z**2),
    lambda z: z.float().contiguous(),
    lambda z: z.reshape(1, -1, 2).relu().view(z.shape),
    nn.ReLU6(),
    nn.Mish(),
    nn.Softsign(),
    nn.Hardsigmoid(),
]


@pytest.mark.parametrize("number", range(len(ACTIVATIONS)))
def test_functions_and_methods(number: int):
    def forward(self: Any, x: Tensor) -> Tensor:
        z = functional.linear(x.flatten(1), self.first.weight, bias=self.first.bias)
        return self.last(ACTIVATIONS[number](z))

    chain = chain_of(Network(forward, first=linear(48, 6), last=linear(6, 4)))
    assert names(chain) == ["first.weight", "last.weight"]
    assert chain.reads_input


@pytest.mark.parametrize(
    ("forward", "stops_at"),
    [
        (lambda self, x: self.last(self.norm(self.first(x.flatten(1)))), "layer_norm at norm"),
        (lambda self, x: self.last(self.first(x.flatten(1)).softmax(1)), "softmax in forward()"),
        (
            lambda self, x: self.last(self.first(x.flatten(1)).view(len(x), 2, 3).mT.reshape(len(x), 6)),
            "mT in forward()",
        ),
        (lambda self, x: self.last(self.square(self.square(x.flatten(1)[:, :6]))), "used 2 times"),
        (lambda self, x: self.last(torch.cat([self.first(x.flatten(1))], 1)), "cat in forward()"),
        (lambda self, x: self.last(self.first(x.flatten(1)) @ self.square.weight), "matmul in forward()"),
        (lambda self, x: self.last(self.first(x.flatten(1)).flip(0).flip(0)), "flip in forward()"),
        (lambda self, x: self.last(functional.linear(x.flatten(1)[:, :6], self.square.weight * 2)), "not a parameter"),
        (
            lambda self, x: self.last(self.long(x.reshape(-1, 24)).view(len(x), 6)),
            "long, whose input has shape [4, 24]",
        ),
        (lambda self, x: self.last(x.flatten(1)[:, :6].relu()), "__getitem__ in forward()"),
        (lambda self, x: self.last(changed_through_a_view(self.first(x.flatten(1)))), "changed in place"),
    ],
)
def test_where_a_chain_stops(forward: Callable, stops_at: str):
    layers = {"first": linear(48, 6), "square": linear(6, 6), "long": linear(24, 3), "norm": nn.LayerNorm(6)}
    chain = chain_of(Network(forward, **layers, last=linear(6, 4)))
    assert names(chain) == ["last.weight"]
    assert stops_at in chain.stops_at
    assert not chain.reads_input


def changed_through_a_view(z: Tensor) -> Tensor:
    z[0].mul_(2)
    return z


@pytest.mark.parametrize(
    ("forward", "stops_at"),
    [
        (lambda self, x: self.last((x * 2).flatten(1).neg()), "mul in forward() of the model's input"),
        (lambda self, x: self.last(self.drop(x).flatten(1)), "dropout of the model's input"),
    ],
)
def test_altered_images_are_not_the_input(forward: Callable, stops_at: str):
    chain = chain_of(Network(forward, last=linear(48, 4), drop=nn.Dropout()))
    assert (chain.reads_input, chain.stops_at) == (False, stops_at)


def test_weights_tied_to_an_embedding():
    def forward(self: Any, x: Tensor) -> Tensor:
        tokens = self.table(x.flatten(1)[:, :2].gt(0).long()).sum(1)
        return self.last(functional.linear(tokens, self.table.weight))

    chain = chain_of(Network(forward, table=nn.Embedding(7, 5), last=linear(7, 4)))
    assert names(chain) == ["last.weight"]
    assert "table.weight is used 2 times" in chain.stops_at


class Branching(nn.Module):
    """The function after its first layer depends on the sign of the images' sum."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(16, 8), nn.Linear(8, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        z = self.first(x.flatten(1))
        h = torch.relu(z) if x.sum() > 0 else torch.tanh(z)
        return self.last(torch.relu(self.second(h)))


def test_a_branch_on_data_ends_the_chain():
    torch.manual_seed(0)
    chain = linear_chain(Branching(), torch.rand(2, 1, 4, 4))
    assert [layer.weight for layer in chain.layers] == ["second.weight", "last.weight"]
    assert not chain.reads_input
    assert chain.stops_at == "a branch on data between first.weight and second.weight"


def test_changes_of_the_type_do_not_end_the_chain():
    model = Network(
        lambda m, x: m.b(m.a(x.flatten(1)).double().float().relu().to(torch.float32)).double(),
        a=linear(48, 9),
        b=linear(9, 5),
    )
    chain = chain_of(model, lambda m, x: m(x).float())
    assert names(chain) == ["a.weight", "b.weight"]
