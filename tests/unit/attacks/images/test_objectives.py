"""The matching loss: 0 at the true batch of every model, and the formulas against loops."""

import itertools
import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from gradleak.attacks.images import objectives
from gradleak.attacks.images.objectives import INDICES, WEIGHTS, build
from gradleak.clients.client import Client
from gradleak.clients.local_training import LocalTraining
from gradleak.clients.observation import observe_full
from gradleak.errors import InputError
from gradleak.plan.catalogue import names
from gradleak.victims.models.build import build as build_model

C = 5
SMALLEST = {"fcn": 8, "lenet": 8, "lenet5": 16} | dict.fromkeys(("vgg11", "vgg13", "vgg16", "vgg19"), 32)
"""Image sizes; other models pool globally and accept any size."""

DEEPER = ("vgg13", "vgg16", "vgg19", "resnet34", "resnet101", "resnet152")
"""Models with the same blocks as tested ones; left out to save time."""


def true_and_other(
    name: str, *, size: int | None = None, activation: str = "relu"
) -> tuple[list[Tensor], list[Tensor]]:
    """Return the gradients of two images by ``Client``, of other images and labels [2, ...], and by autograd."""
    size = size or SMALLEST.get(name, 8)
    model = build_model(name, num_classes=C, channels=1, image_size=size, seed=0, activation=activation)
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(2, 2, 1, size, size, generator=generator)
    y = torch.tensor([[1, 3], [0, 3]])
    sent = Client(model, LocalTraining()).send_many(x, functional.one_hot(y, C).float())
    observed = observe_full(model, x[0], y[0]).gradients.values()
    return list(sent), [g.expand(2, *g.shape) for g in observed]


def sizes(target: list[Tensor]) -> dict[str, float]:
    """Return the scale of each objective: its value at a zero dummy gradient (1 for the cosines)."""
    one = [g[0] for g in target]
    return {
        "l2": sum(float(g.square().sum()) for g in one),
        "l1": sum(float(g.abs().sum()) for g in one),
        "max": sum(float(g.abs().max()) for g in one),
        "sim": 1.0,
        "simlocal": 1.0,
    }


@pytest.mark.parametrize("name", [name for name in names("models") if name not in DEEPER])
def test_the_loss_is_zero_at_the_true_batch_for_every_model(name: str):
    """To float32 precision: 1e-5 of the gradient's size, 1e-10 of its square, 1e-6 for cosines."""
    sent, target = true_and_other(name)
    for objective, unit in sizes(target).items():
        at_truth, elsewhere = build(objective)(sent, target).tolist()
        assert abs(at_truth) < {"l2": 1e-10, "l1": 1e-5, "max": 1e-5}.get(objective, 1e-6) * unit, objective
        assert elsewhere > 1e-2 * unit, objective


@pytest.mark.parametrize("activation", ["relu", "sigmoid"])
def test_the_loss_is_zero_at_the_true_batch_for_every_setting(activation: str):
    sent, target = true_and_other("lenet", activation=activation)
    for objective, indices, weights in itertools.product(names("objectives"), INDICES, WEIGHTS):
        at_truth, elsewhere = build(objective, indices=indices, weights=weights)(sent, target).tolist()
        assert abs(at_truth) < 1e-6 * max(1.0, elsewhere), (objective, indices, weights)
        assert elsewhere > 1e-4, (objective, indices, weights)


SHAPES = [(4, 2, 3, 3), (4,), (5, 4), (5,), (1,), (), (7, 5), (7,), (2, 7), (2,), (6, 2), (6,)]
"""For a model's parameters: more than ten, some with a single entry."""


def made_up(K: int, *, seed: int) -> list[Tensor]:
    """K lists of gradients, whose layers differ in size from list to list."""
    generator = torch.Generator().manual_seed(seed)
    kwargs = {"generator": generator, "dtype": torch.float64}
    return [torch.exp(torch.randn(K, *[1] * len(s), **kwargs)) * torch.randn(K, *s, **kwargs) for s in SHAPES]


def by_loops(name: str, indices: str, weights: str, dummy: list[Tensor], target: list[Tensor]) -> float:
    """Return the objective for one problem by its definition."""
    number = len(target)
    largest = sorted(range(number), key=lambda i: -float(target[i].norm()))
    chosen = {
        "def": range(number),
        "first": [0],
        "first4": range(4),
        "first5": range(5),
        "first10": range(10),
        "last5": range(number - 5, number),
        "last10": range(number - 10, number),
        "top10": sorted(largest[:10]),
        "top50": range(number),
    }[indices]
    value = inner = mine = theirs = 0.0
    for place, i in enumerate(chosen):
        factor = {"equal": 1.0, "linear": 1 - place / len(chosen), "exp": math.exp(-place)}[weights]
        a, b = dummy[i].flatten().tolist(), target[i].flatten().tolist()
        pairs = list(zip(a, b, strict=True))
        dot, aa, bb = sum(p * q for p, q in pairs), sum(p * p for p in a), sum(q * q for q in b)
        inner, mine, theirs = inner + factor * dot, mine + factor * aa, theirs + factor * bb
        value += (
            factor
            * {
                "l2": sum((p - q) ** 2 for p, q in pairs),
                "l1": sum(abs(p - q) for p, q in pairs),
                "max": max(abs(p - q) for p, q in pairs),
                "simlocal": (1 - dot / math.sqrt(aa * bb)) / len(chosen),
                "sim": 0.0,
            }[name]
        )
    return 1 - inner / math.sqrt(mine * theirs) if name == "sim" else value


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("indices", INDICES)
@pytest.mark.parametrize("name", names("objectives"))
def test_objectives_equal_loops_problem_by_problem(name: str, indices: str, weights: str):
    """Also if problems have their largest gradients in different layers."""
    K = 3
    dummy, target = made_up(K, seed=0), made_up(K, seed=1)
    together = build(name, indices=indices, weights=weights)(dummy, target)
    assert together.shape == (K,)
    for k in range(K):
        expected = by_loops(name, indices, weights, [g[k] for g in dummy], [g[k] for g in target])
        assert float(together[k]) == pytest.approx(expected, rel=1e-10)


def test_problems_differ_in_their_largest_layers():
    """Makes the test above meaningful: the ten largest layers differ."""
    norms = torch.stack([g.reshape(3, -1).norm(dim=1) for g in made_up(3, seed=1)])
    assert len({tuple(sorted(column.topk(10).indices.tolist())) for column in norms.T}) > 1


@pytest.mark.parametrize("scale", [1e-8, 1e-4, 1.0, 1e4])
@pytest.mark.parametrize("name", ["sim", "simlocal"])
def test_cosines_do_not_depend_on_the_scale(name: str, scale: float):
    """A trained victim's gradients are small."""
    dummy, target = ([g.float() for g in made_up(2, seed=seed)] for seed in (0, 1))
    value = build(name)(dummy, target)
    torch.testing.assert_close(build(name)([scale * g for g in dummy], [scale * g for g in target]), value)
    torch.testing.assert_close(build(name)([scale * g for g in dummy], target), value)


@pytest.mark.parametrize("name", names("objectives"))
def test_derivatives_are_finite_where_a_gradient_vanishes(name: str):
    dummy, target = made_up(2, seed=0), made_up(2, seed=1)
    dummy = [torch.zeros_like(g).requires_grad_() for g in dummy]
    value = build(name)(dummy, target)
    assert torch.isfinite(value).all()
    assert all(torch.isfinite(d).all() for d in torch.autograd.grad(value.sum(), dummy))
    value = build(name)(dummy, [torch.zeros_like(g) for g in target])
    assert torch.isfinite(value).all()


@pytest.mark.parametrize("name", names("objectives"))
def test_derivatives_equal_finite_differences(name: str):
    dummy, target = made_up(2, seed=0)[:4], made_up(2, seed=1)[:4]
    for g in dummy:
        g.requires_grad_()
    objective = build(name, weights="linear")
    assert torch.autograd.gradcheck(lambda *given: objective(given, target), dummy)


@pytest.mark.parametrize("given", [{"name": "cos"}, {"name": "l2", "indices": "top"}, {"name": "l2", "weights": "x"}])
def test_unknown_names_are_refused(given: dict[str, str]):
    with pytest.raises(InputError, match="known: "):
        build(**given)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (lambda d: d.sum(), r"a tensor \[\] of torch.float32"),
        (lambda d: d.sum(1, keepdim=True), r"a tensor \[2, 1\]"),
        (lambda d: d.sum(1).long(), "torch.int64"),
        (lambda d: None, "NoneType"),
    ],
)
def test_a_distance_must_return_one_number_per_problem(monkeypatch, value, message):
    monkeypatch.setattr(objectives, "squared", lambda d, t: value(d))
    gradients = [torch.ones(2, 3)]
    with pytest.raises(InputError, match=f"objective l2 returned .*{message}"):
        build("l2")(gradients, gradients)
