"""What a client sends, against plain PyTorch: autograd, train-mode BatchNorm, SGD steps."""

import copy

import pytest
import torch
from tests.problems import Make
from torch import Tensor, nn
from torch.nn import functional

from gradleak.clients.client import Client
from gradleak.clients.local_training import LocalTraining
from gradleak.clients.observation import observe_full
from gradleak.errors import InputError
from gradleak.victims.models.base import Victim
from gradleak.victims.models.build import build

C = 3


def batches(K: int, n: int, *, channels: int = 2, size: int = 4) -> tuple[Tensor, Tensor]:
    """Return K batches of images, and their labels, some of which repeat."""
    generator = torch.Generator().manual_seed(K)
    x = torch.randn(K, n, channels, size, size, generator=generator, dtype=torch.float64)
    return x, torch.randint(C, (K, n), generator=generator)


def onehot(y: Tensor) -> Tensor:
    return functional.one_hot(y, C).double()


def state(model: Victim) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in model.state_dict().items()}


def assert_same(sent: tuple[Tensor, ...], expected: list[Tensor], tolerance: float = 1e-12) -> None:
    assert len(sent) == len(expected)
    for ours, theirs in zip(sent, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)


def in_train_mode(model: Victim) -> Victim:
    """Return a copy whose BatchNorm uses batch statistics; dropout stays off, as in our clients."""
    model = copy.deepcopy(model)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.train()
    return model


@pytest.mark.parametrize("name", ["lenet", "lenet5", "resnet18", "mobilenet_v2"])
def test_it_sends_the_gradient_of_cross_entropy(name: str):
    size = 16 if name == "lenet5" else 8
    model = build(name, num_classes=C, channels=2, image_size=size, seed=0, batchnorm=name == "lenet5").double()
    x, y = batches(1, 3, size=size)
    sent = Client(model, LocalTraining()).send(x[0], onehot(y[0]))
    expected = list(observe_full(model, x[0], y[0]).gradients.values())
    assert_same(sent, expected, 1e-9 * max(float(g.abs().max()) for g in expected))


def test_soft_labels(toy: Make):
    model = toy()
    x, _ = batches(1, 3)
    soft = torch.softmax(torch.randn(3, C, dtype=torch.float64, generator=torch.Generator().manual_seed(0)), 1)
    loss = functional.cross_entropy(model(x[0]), soft)
    assert_same(
        Client(model, LocalTraining()).send(x[0], soft), list(torch.autograd.grad(loss, list(model.parameters())))
    )


def test_batch_statistics_are_those_of_train_mode(toy: Make):
    """BatchNorm only: dropout is off. Each of K clients has the statistics of its own batch."""
    model = toy()
    before = state(model)
    x, y = batches(4, 3)
    sent = Client(model, LocalTraining(bn_eval=False)).send_many(x, onehot(y))
    for k in range(4):
        plain = in_train_mode(model)
        loss = functional.cross_entropy(plain(x[k]), y[k])
        expected = list(torch.autograd.grad(loss, list(plain.parameters())))
        assert_same(tuple(g[k] for g in sent), expected)
    with_running = Client(model, LocalTraining()).send_many(x, onehot(y))
    assert not torch.allclose(sent[0], with_running[0], rtol=0.1)
    assert not any(module.training for module in model.modules())
    after = state(model)
    assert list(after) == list(before)
    assert all(torch.equal(after[key], before[key]) for key in before)


@pytest.mark.parametrize("bn_eval", [True, False])
@pytest.mark.parametrize("steps", [2, 3])
def test_local_steps_equal_those_of_sgd(toy: Make, steps: int, bn_eval: bool):
    model = toy()
    before = state(model)
    x, y = batches(1, 3)
    lr = 0.3
    sent = Client(model, LocalTraining(epochs=steps, lr=lr, bn_eval=bn_eval)).send(x[0], onehot(y[0]))
    plain = copy.deepcopy(model) if bn_eval else in_train_mode(model)
    optimizer = torch.optim.SGD(plain.parameters(), lr=lr)
    for _ in range(steps):
        optimizer.zero_grad()
        functional.cross_entropy(plain(x[0]), y[0]).backward()
        optimizer.step()
    moved = [(w - v.detach()) / (lr * steps) for w, v in zip(model.parameters(), plain.parameters(), strict=True)]
    assert_same(sent, moved, 1e-10)
    one = Client(model, LocalTraining(bn_eval=bn_eval)).send(x[0], onehot(y[0]))
    assert not torch.allclose(sent[0], one[0], rtol=1e-2)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize("rule", [LocalTraining(), LocalTraining(epochs=2, bn_eval=False)])
def test_many_clients_equal_the_stack_of_single_ones(toy: Make, rule: LocalTraining):
    model = toy()
    x, y = batches(5, 2)
    client = Client(model, rule)
    single = [client.send(x[k], onehot(y[k])) for k in range(5)]
    for at_once in (None, 1, 2, 5, 9):
        many = client.send_many(x, onehot(y), at_once=at_once)
        assert_same(many, [torch.stack(gradients) for gradients in zip(*single, strict=True)])
    for graph in (True, False):
        with torch.set_grad_enabled(graph):
            alone = client.send_many(x[:1].requires_grad_(), onehot(y[:1]))
        assert_same(alone, [gradient[None] for gradient in single[0]])
        assert all(gradient.requires_grad == graph for gradient in alone)


@pytest.mark.parametrize("rule", [LocalTraining(), LocalTraining(epochs=2, lr=0.3), LocalTraining(bn_eval=False)])
@pytest.mark.parametrize("K", [1, 2])
def test_sent_gradients_can_be_differentiated(toy: Make, rule: LocalTraining, K: int):
    """With respect to images and soft labels, against finite differences; single batches use separate code."""
    client = Client(toy(image_size=3), rule)
    x, _ = batches(K, 2, size=3)
    logits = torch.randn(K, 2, C, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def norms(images: Tensor, free: Tensor) -> Tensor:
        sent = client.send_many(images, torch.softmax(free, dim=-1), at_once=2)
        return torch.stack([g.square().flatten(1).sum(1) for g in sent]).sum(0)

    assert torch.autograd.gradcheck(norms, (x.requires_grad_(), logits.requires_grad_()))


def like_trained(name: str) -> tuple[Victim, int]:
    """A victim in float64 with running statistics of its own activations, for images of this size."""
    size = 8 if name == "resnet18" else 16
    model = build(name, num_classes=C, channels=2, image_size=size, seed=0, batchnorm=name == "lenet5").double()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    model.train()
    with torch.no_grad():
        model(batches(7, 4, size=size)[0][0])
    return model.eval(), size


@pytest.mark.parametrize(
    ("name", "bn_eval"),
    [
        ("fcn", True),
        ("lenet", True),
        ("lenet5", True),
        ("lenet5", False),
        ("cnn3", True),
        ("pooled_cnn", True),
        ("resnet18", False),
        ("mobilenet_v2", True),
    ],
)
def test_second_derivatives_equal_plain_autograd(name: str, bn_eval: bool):
    """For the layers of every family (VGG has those of LeNet-5 with BatchNorm), for two batches side by side."""
    model, size = like_trained(name)
    x, y = batches(2, 3, size=size)
    client = Client(model, LocalTraining(bn_eval=bn_eval))
    x.requires_grad_()
    sent = client.send_many(x, onehot(y))
    (ours,) = torch.autograd.grad(torch.stack([g.square().sum() for g in sent]).sum(), x)
    plain = model if bn_eval else in_train_mode(model)
    for k in range(2):
        images = x[k].detach().requires_grad_()
        loss = functional.cross_entropy(plain(images), y[k])
        gradients = torch.autograd.grad(loss, list(plain.parameters()), create_graph=True)
        (theirs,) = torch.autograd.grad(torch.stack([g.square().sum() for g in gradients]).sum(), images)
        assert float((ours[k] - theirs).norm()) < 1e-8 * float(theirs.norm())


def test_batch_statistics_need_more_than_one_value_per_channel():
    """As in torch, but with another message."""
    model = build("mobilenet_v2", num_classes=C, channels=2, image_size=16, seed=0).double()
    x, y = batches(1, 1, size=16)
    assert len(Client(model, LocalTraining()).send_many(x, onehot(y))) == len(list(model.parameters()))
    with pytest.raises(InputError, match="no batch statistics"):
        Client(model, LocalTraining(bn_eval=False)).send_many(x, onehot(y))


def test_later_changes_of_the_model_do_not_matter(toy: Make):
    """The client holds a copy of the model."""
    model = toy()
    x, y = batches(1, 2)
    client = Client(model, LocalTraining())
    sent = client.send(x[0], onehot(y[0]))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        for buffer in model.buffers():
            buffer.fill_(9)
    assert_same(client.send(x[0], onehot(y[0])), list(sent), 0.0)


def test_no_parameter_gets_a_gradient(toy: Make):
    model = toy()
    x, y = batches(2, 2)
    sent = Client(model, LocalTraining()).send_many(x.requires_grad_(), onehot(y))
    torch.stack([g.sum() for g in sent]).sum().backward()
    assert x.grad is not None
    assert all(parameter.grad is None for parameter in model.parameters())
