"""What the layers of a chain read of other images, in a model that stays as it is."""

from typing import Any

import pytest
import torch
from tests.unit.victims.networks import IMAGES, Network, chain_of, composed, linear, names
from torch import Tensor, nn

from gradleak.errors import InputError
from gradleak.victims.layers import linear_chain


def test_control_flow_that_depends_on_the_images():
    def forward(self: Any, x: Tensor) -> Tensor:
        x = self.conv(x) if x.sum() > 0 else -x
        return self.last(self.first(x.flatten(1)).relu()) if x.mean() < 100 else self.other(x.flatten(1))

    layers = {"conv": nn.Conv2d(3, 3, 1), "first": linear(48, 6), "last": linear(6, 4), "other": linear(48, 4)}
    model = Network(forward, **layers)
    for images in (IMAGES - 5, IMAGES + 5):
        assert names(composed(model, images[:2], IMAGES)) == ["first.weight", "last.weight"]
    with pytest.raises(InputError, match=r"^model Network: .* does not reach the linear layer of first\.weight"):
        linear_chain(model, IMAGES).body(-IMAGES - 1000)


def test_the_model_is_unchanged():
    def forward(self: Any, x: Tensor) -> Tensor:
        self.passes += 1
        return self.last(self.drop(self.norm(x.mul_(2)).flatten(1)) + torch.rand(48))

    model: Any = Network(forward, norm=nn.BatchNorm2d(3), drop=nn.Dropout(), last=linear(48, 4))
    model.register_buffer("passes", torch.zeros(()))
    model.train()
    model.drop.eval()
    buffers, hooks = {k: v.clone() for k, v in model.state_dict().items()}, len(model.last._forward_hooks)
    images, state = IMAGES.clone(), torch.get_rng_state()
    chain = linear_chain(model, images)
    assert torch.equal(images, IMAGES)
    chain.body(images)
    assert (model.training, model.drop.training, model.last.training) == (True, False, True)
    assert all(torch.equal(buffers[key], value) for key, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert len(model.last._forward_hooks) == hooks


def test_a_chain_follows_its_model():
    model: Any = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Flatten(), linear(48, 4))
    chain = chain_of(model)
    with torch.no_grad():
        model[0].weight.mul_(2)
    assert torch.equal(chain.body(IMAGES), model[:2](IMAGES))
    model.double()
    assert chain.body(IMAGES.double()).dtype == torch.float64
    images = IMAGES.double().requires_grad_()
    assert torch.autograd.grad(chain.body(images).sum(), images)[0].abs().sum() > 0


def test_layers_behind_autocast_are_read_in_their_own_type():
    def forward(m, x):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return m.b(m.a(x.flatten(1)).relu()).float()

    chain = linear_chain(Network(forward, a=linear(48, 9), b=linear(9, 5)), IMAGES[:2])
    assert names(chain)[-1] == "b.weight"
    assert {read.dtype for read in chain.inputs(IMAGES)} == {torch.float32}
