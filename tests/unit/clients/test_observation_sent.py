"""A client sends gradients of parameters that exist, require a gradient and affect the output."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from gradleak.clients.client import Client
from gradleak.clients.defenses.base import DefenseContext, apply
from gradleak.clients.local_training import LocalTraining
from gradleak.clients.observation import observe_full, observe_head
from gradleak.victims.models.base import Victim

C, D = 3, 5


class Small(Victim):
    """A layer of D features, and an unused layer."""

    def __init__(self, *, bias: bool = True):
        super().__init__()
        self.body = nn.Linear(4, D)
        self.spare = nn.Linear(2, 2)
        self.head = nn.Linear(D, C, bias=bias)

    def features(self, x: Tensor) -> Tensor:
        return torch.sigmoid(self.body(x.flatten(1)))


class Tied(Victim):
    """Layers of D units, of which the last two share a weight."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4, 4)
        self.body = nn.Linear(4, 4)
        self.body.weight = self.head.weight

    def features(self, x: Tensor) -> Tensor:
        return torch.sigmoid(self.body(x.flatten(1)))


class Wrapped(Victim):
    """Its head is also a layer of another module, which comes first."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, D), nn.Sigmoid(), nn.Linear(D, C))
        self.head = self.net[2]  # pyright: ignore[reportAttributeAccessIssue]

    def features(self, x: Tensor) -> Tensor:
        return self.net[:2](x.flatten(1))


class Probe(Victim):
    """Its features come from a body without derivatives."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(4, D)
        self.head = nn.Linear(D, C)

    def features(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            return self.body(x.flatten(1))


def frozen(*names: str) -> Victim:
    model = Small()
    for name in names:
        model.get_parameter(name).requires_grad = False
    return model


BODY = ["body.weight", "body.bias"]
HEAD = ["head.weight", "head.bias"]
CASES: dict[str, tuple[Callable[[], Victim], list[str]]] = {
    "unused": (Small, [*BODY, *HEAD]),
    "no bias": (lambda: Small(bias=False), [*BODY, "head.weight"]),
    "frozen bias": (lambda: frozen("head.bias"), [*BODY, "head.weight"]),
    "frozen weight": (lambda: frozen("head.weight", "body.bias"), ["body.weight", "head.bias"]),
    "frozen head": (lambda: frozen("head.weight", "head.bias"), BODY),
    "all frozen": (lambda: frozen(*BODY, *HEAD, "spare.weight", "spare.bias"), []),
    # The gradient of a shared weight is not that of the last layer.
    "tied head": (Tied, ["body.weight", "head.bias", "body.bias"]),
    "named twice": (Wrapped, ["net.0.weight", "net.0.bias", *HEAD]),
    "linear probe": (Probe, HEAD),
}


@pytest.fixture(params=list(CASES))
def case(request) -> tuple[Victim, list[str]]:
    torch.manual_seed(0)
    make, names = CASES[request.param]
    return make().eval(), names


def batch(model: Victim) -> tuple[Tensor, Tensor]:
    return torch.rand(6, 1, 2, 2), torch.arange(6) % model.head.out_features


def test_the_full_observation_covers_what_a_training_step_would_change(case):
    model, names = case
    images, labels = batch(model)
    sent = observe_full(model, images, labels).gradients
    assert list(sent) == names
    if names:
        functional.cross_entropy(model(images), labels).backward()
    moved = {id(parameter): parameter.grad for parameter in model.parameters() if parameter.grad is not None}
    assert len(moved) == len(names)
    for gradient in sent.values():
        assert any(grad.shape == gradient.shape and torch.allclose(grad, gradient) for grad in moved.values())


def test_the_head_observation_has_the_same_gradients_of_the_head(case):
    model, names = case
    images, labels = batch(model)
    observation, truth = observe_head(model, [(images, labels)])
    assert list(observation.gradients) == [name for name in names if name.startswith("head.")]
    assert int(truth.counts.sum()) == 6
    full = observe_full(model, images, labels).gradients
    for name, gradient in observation.gradients.items():
        torch.testing.assert_close(gradient, full[name])


def test_defenses_of_all_gradients_accept_missing_ones(case):
    model, names = case
    images, labels = batch(model)
    full = observe_full(model, images, labels)
    context = DefenseContext(torch.Generator().manual_seed(0), model, lambda: [(images, labels)])
    sent = apply(full, ["clip-1e-3", "dp-1e-3", "sparse-10"], scope="all", context=context).gradients
    assert list(sent) == names
    assert not any(gradient.equal(full.gradients[name]) for name, gradient in sent.items())


@pytest.mark.parametrize("local_steps", [1, 3])
@pytest.mark.parametrize("K", [1, 2])
def test_a_simulated_client_sends_the_same(case, local_steps: int, K: int):
    model, names = case
    images, labels = batch(model)
    x, targets = images.expand(K, *images.shape), functional.one_hot(labels, model.head.out_features).float()
    client = Client(model, LocalTraining(epochs=local_steps, lr=0.5), names)
    sent = client.send_many(x, targets.expand(K, *targets.shape))
    assert client.names == names
    assert len(sent) == len(names)
    expected = observe_full(model, images, labels).gradients
    for name, gradient in zip(names, sent, strict=True):
        assert gradient.shape == (K, *expected[name].shape)
        if local_steps == 1:
            torch.testing.assert_close(gradient[0], expected[name])


def test_missing_gradients_are_reported_once_in_one_line(capsys):
    model = frozen("head.bias", "body.bias")
    images, labels = batch(model)
    for _ in range(3):
        observe_full(model, images, labels)
    assert capsys.readouterr().err == (
        "note: clients send no gradient of parameters that are frozen: body.bias, head.bias; "
        "unused: spare.weight, spare.bias\n"
    )


def test_a_partial_client_of_several_steps_trains_all_parameters():
    """Withholding a gradient changes what is sent, not the local training."""
    torch.manual_seed(0)
    model = Small()
    images, labels = batch(model)
    targets = functional.one_hot(labels, C).float()
    names = [*BODY, *HEAD]
    for steps in (1, 3):
        whole = Client(model, LocalTraining(epochs=steps, lr=0.5), names)
        part = whole.sending(["head.weight", "body.bias"])
        assert part.names == ["body.bias", "head.weight"]
        expected = dict(zip(names, whole.send(images, targets), strict=True))
        for K in (1, 2):
            sent = part.send_many(images.expand(K, *images.shape), targets.expand(K, *targets.shape))
            for name, gradient in zip(part.names, sent, strict=True):
                torch.testing.assert_close(gradient[-1], expected[name])
        assert whole.names == names
