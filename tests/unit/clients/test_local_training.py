"""A client's local training, step by step against torch.optim.SGD, and the update that it sends."""

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from tests.problems import Make
from torch import Tensor, nn
from torch.nn import functional

from gradleak.clients.client import Client
from gradleak.clients.local_training import LocalTraining
from gradleak.victims.models.base import Victim
from gradleak.victims.models.build import build

C, B = 3, 5

TRAININGS = {
    "whole batches": LocalTraining(epochs=3, lr=0.1),
    "mini-batches": LocalTraining(epochs=2, batch_size=2, lr=0.1),
    "momentum": LocalTraining(epochs=3, lr=0.1, momentum=0.9),
    "weight decay": LocalTraining(epochs=3, lr=0.1, weight_decay=0.3),
    "all": LocalTraining(epochs=2, batch_size=2, lr=0.05, momentum=0.8, weight_decay=0.2),
    "steps": LocalTraining(steps=4, batch_size=2, lr=0.05, momentum=0.8, weight_decay=0.2),
}
MODELS: dict[str, dict[str, Any]] = {
    "fcn": {"activation": "gelu", "n_dim": 12},
    "lenet5": {"batchnorm": True},
    "cnn3": {},
    "pooled_cnn": {"activation": "silu"},
}


def batch(size: int, channels: int = 2) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(size)
    x = torch.randn(B, channels, size, size, generator=generator, dtype=torch.float64)
    return x, torch.randint(C, (B,), generator=generator)


def onehot(y: Tensor) -> Tensor:
    return functional.one_hot(y, C).double()


def by_torch(model: Victim, x: Tensor, y: Tensor, training: LocalTraining) -> list[Tensor]:
    """Return the update w_0 - w_T of a plain loop over mini-batches in order."""
    plain = copy.deepcopy(model)
    for module in plain.modules():
        if isinstance(module, nn.BatchNorm2d) and not training.bn_eval:
            module.train()
    optimizer = torch.optim.SGD(
        plain.parameters(), lr=training.lr, momentum=training.momentum, weight_decay=training.weight_decay
    )
    parts = list(zip(x.split(training.batch_size or B), y.split(training.batch_size or B), strict=True))
    for step in range(training.epochs * len(parts) if training.steps is None else training.steps):
        images, labels = parts[step % len(parts)]
        optimizer.zero_grad()
        functional.cross_entropy(plain(images), labels).backward()
        optimizer.step()
    return [w.detach() - v.detach() for w, v in zip(model.parameters(), plain.parameters(), strict=True)]


def assert_same(ours: tuple[Tensor, ...], theirs: tuple[Tensor, ...], tolerance: float = 1e-9) -> None:
    for one, other in zip(ours, theirs, strict=True):
        assert float((one - other).detach().norm()) <= tolerance * float(other.detach().norm()) + 1e-12


@pytest.mark.parametrize("bn_eval", [True, False])
@pytest.mark.parametrize("training", TRAININGS.values(), ids=TRAININGS)
@pytest.mark.parametrize("name", MODELS)
def test_the_update_equals_that_of_torch(name: str, training: LocalTraining, bn_eval: bool):
    size = 16
    model = build(name, num_classes=C, channels=2, image_size=size, seed=0, **MODELS[name]).double()
    training = replace(training, bn_eval=bn_eval)
    x, y = batch(size)
    update = by_torch(model, x, y, training)
    start = [p.detach() for p in model.parameters()]
    expected = training.mean_gradient(update, start, B)
    client = Client(model, training)
    assert_same(client.send(x, onehot(y)), expected)
    assert_same(tuple(g[0] for g in client.send_many(x[None], onehot(y)[None])), expected)


def test_trainings_differ(toy: Make):
    """Makes the comparison with torch meaningful: every option has an effect."""
    model = toy()
    x, y = batch(4)
    sent = [torch.cat([g.flatten() for g in Client(model, t).send(x, onehot(y))]) for t in TRAININGS.values()]
    for i, one in enumerate(sent):
        assert all(float((one - other).norm()) > 1e-3 * float(one.norm()) for other in sent[:i])


@pytest.mark.parametrize("together", [False, True])
def test_one_step_sends_the_gradient_to_the_bit(toy: Make, together: bool):
    model = toy()
    x, y = batch(4)
    plain, told = (
        Client(model, training) for training in (LocalTraining(), LocalTraining(lr=0.7, momentum=0.9, weight_decay=0.1))
    )
    K = 2 if together else 1
    images, targets = x.expand(K, *x.shape), onehot(y).expand(K, B, C)
    for one, other in zip(plain.send_many(images, targets), told.send_many(images, targets), strict=True):
        assert torch.equal(one, other)


def test_mini_batches_are_consecutive_and_the_last_may_be_smaller():
    training = LocalTraining(epochs=2, batch_size=2)
    found = [list(range(B))[part] for part in training.mini_batches(B)]
    assert found == [[0, 1], [2, 3], [4]] * 2
    assert [list(range(B))[part] for part in LocalTraining(steps=4, batch_size=2).mini_batches(B)] == found[:4]
    assert [list(range(B))[part] for part in LocalTraining(epochs=2).mini_batches(B)] == [list(range(B))] * 2
    assert LocalTraining().sends_gradient
    assert not LocalTraining(epochs=2).sends_gradient
    assert not LocalTraining(batch_size=2).sends_gradient


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_an_update_of_constant_gradients_is_read_as_that_gradient(momentum: float):
    """The loss g w has the gradient g everywhere, so the mean along any path is g."""
    training = LocalTraining(epochs=7, lr=0.2, momentum=momentum)
    gradient = torch.tensor([1.5, -0.5], dtype=torch.float64)
    start = torch.tensor([3.0, 2.0], dtype=torch.float64)
    w = start.clone().requires_grad_()
    optimizer = torch.optim.SGD([w], lr=training.lr, momentum=momentum)
    for _ in range(training.epochs):
        optimizer.zero_grad()
        (gradient * w).sum().backward()
        optimizer.step()
    (read,) = training.mean_gradient([start - w.detach()], [start], 1)
    torch.testing.assert_close(read, gradient)


@pytest.mark.parametrize("training", [TRAININGS["all"], TRAININGS["steps"]])
def test_sent_updates_can_be_differentiated_side_by_side(toy: Make, training: LocalTraining):
    client = Client(toy(image_size=3), training)
    x, y = batch(3)
    for K in (1, 2):
        images = torch.stack([x[:4] + k for k in range(K)]).requires_grad_()
        targets = onehot(y[:4]).expand(K, 4, C)
        single = [client.send(images[k], targets[k]) for k in range(K)]
        assert_same(client.send_many(images, targets), tuple(torch.stack(g) for g in zip(*single, strict=True)))

        def norms(given: Tensor, targets: Tensor = targets) -> Tensor:
            return torch.stack([g.square().flatten(1).sum(1) for g in client.send_many(given, targets)]).sum(0)

        assert torch.autograd.gradcheck(norms, (images,))
        with torch.no_grad():
            assert not any(g.requires_grad for g in client.send_many(images, targets))
