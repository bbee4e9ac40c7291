"""The closed forms against autograd, and the spans against what they were made of."""

import math
from itertools import pairwise

import pytest
import torch
from tests.unit.attacks.exact.problems import gradients_of, network_of
from torch import nn

from gradleak.attacks.exact.affine import Affine
from gradleak.attacks.exact.backward import Backward
from gradleak.attacks.exact.evidence import telling_columns
from gradleak.attacks.exact.forward import Forward
from gradleak.attacks.exact.network import augmented
from gradleak.attacks.exact.smoothing import smoothed
from gradleak.attacks.exact.spans import decompose
from gradleak.attacks.exact.uncertainty import Uncertainty

SMOOTH = [nn.SiLU(), nn.GELU(), nn.Sigmoid(), nn.Tanh()]


def made(activation: nn.Module, *, B: int = 6, sizes: tuple[int, ...] = (12, 30, 30, 20), seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    parameters = [
        (torch.randn(o, i, generator=generator) / i**0.5, 0.1 * torch.randn(o, generator=generator))
        for i, o in pairwise(sizes)
    ]
    x = torch.randn(B, sizes[0], generator=generator)
    y = torch.randint(sizes[-1], (B,), generator=generator)
    gradients = gradients_of(parameters, activation, x, y, torch.float64)
    last = len(gradients) - 1
    spans = [
        decompose(gradient, precision=torch.float64, batch_size=B, is_head=i == last)
        for i, gradient in enumerate(gradients)
    ]
    return network_of(parameters, activation, torch.float64), spans, x.double(), y


@pytest.mark.parametrize("activation", [nn.ReLU(), *SMOOTH])
def test_the_batch_lies_in_its_spans(activation):
    network, spans, x, y = made(activation)
    passed = network.forward(x)
    errors = network.errors(passed, y)
    for span, h, delta in zip(spans, passed.inputs, errors, strict=True):
        assert span.rank == len(x)
        z = augmented(h)
        assert torch.allclose((z @ span.right) @ span.right.T, z, atol=1e-6)
        assert torch.allclose((delta @ span.left) @ span.left.T, delta, atol=1e-7)


@pytest.mark.parametrize("activation", [nn.ReLU(), *SMOOTH])
@pytest.mark.parametrize("layers", [1, 2])
def test_forward_consistency_has_the_derivatives_of_its_sum_of_squares(activation, layers):
    network, spans, x, _ = made(activation)
    affine = Affine(spans[0].right)
    problem = Forward(network, affine, [span.right for span in spans[1 : 1 + layers]])
    roots = affine.unknowns(augmented(x) @ spans[0].right)
    assert float(problem.cost(roots).max()) < 1e-10
    _check_derivatives(problem, roots + 0.3)


@pytest.mark.parametrize("activation", SMOOTH)
@pytest.mark.parametrize("first", [0, 1, 2])
def test_backward_consistency_has_the_derivatives_of_its_sum_of_squares(activation, first):
    network, spans, x, y = made(activation)
    h = network.forward(x).inputs[first]
    network, spans = type(network)(network.layers[first:]), spans[first:]
    affine = Affine(spans[0].right)
    columns = telling_columns(spans)
    problem = Backward(network, affine, [s.left if i in columns else None for i, s in enumerate(spans)], y)
    roots = affine.unknowns(augmented(h) @ spans[0].right)
    assert float(problem.cost(roots).max()) < 1e-8
    _check_derivatives(problem, roots + 0.1)


def _check_derivatives(problem, s):
    cost, gradient, hessian = problem.normal(s)
    assert torch.allclose(cost, problem.cost(s))
    step = 1e-6
    for axis in range(s.shape[1]):
        move = torch.zeros_like(s)
        move[:, axis] = step
        slope = (problem.cost(s + move) - problem.cost(s - move)) / (2 * step)
        assert torch.allclose(2 * gradient[:, axis], slope, rtol=1e-4, atol=1e-6)
    assert bool((torch.linalg.eigvalsh(hessian) > -1e-9).all())


def test_inputs_of_a_row_space_end_with_one():
    _, spans, x, _ = made(nn.ReLU())
    affine = Affine(spans[0].right)
    assert torch.allclose(affine.inputs(affine.unknowns(3 * augmented(x) @ spans[0].right)), x, atol=1e-8)
    anywhere = augmented(affine.inputs(torch.randn(4, len(x) - 1, dtype=torch.float64)))
    assert torch.allclose((anywhere @ spans[0].right) @ spans[0].right.T, anywhere, atol=1e-9)


def test_known_images_leave_the_spans_of_the_others():
    network, spans, x, y = made(nn.SiLU())
    passed = network.forward(x)
    for span, h, delta in zip(spans, passed.inputs, network.errors(passed, y), strict=True):
        known = 7 * delta[:2], augmented(h)[:2]  # the size of an error plays no part
        left, right, rows = span.rest(*known, fixed=torch.tensor([True, True]))
        assert left.shape[1] == right.shape[1] == rows.shape[1] == len(x) - 2
        z = augmented(h)[2:]
        assert torch.allclose((z @ right) @ right.T, z, atol=1e-6)
        assert torch.allclose((delta[2:] @ left) @ left.T, delta[2:], atol=1e-7)
        assert float((augmented(h)[:2] - (augmented(h)[:2] @ right) @ right.T).norm()) > 0.1
        wider, same, _ = span.rest(*known, fixed=torch.tensor([True, False]))  # the second one's error alone is known
        assert (wider.shape[1], same.shape[1]) == (len(x) - 1, len(x) - 2)
        assert torch.allclose((delta[2:] @ wider) @ wider.T, delta[2:], atol=1e-7)


@pytest.mark.parametrize(("out", "width"), [(40, 90), (700, 800)])
@pytest.mark.parametrize("told", [12, 11, 20, None])
@pytest.mark.parametrize("noise", [0.0, 1e-5])
def test_singular_values_tell_the_rank(out, width, told, noise):
    generator = torch.Generator().manual_seed(1)
    left, right = torch.randn(out, 12, generator=generator), torch.randn(12, width, generator=generator)
    gradient = (left @ right).float() + noise * torch.randn(out, width, generator=generator)
    span = decompose(gradient.double(), precision=torch.float32, batch_size=told)
    assert span.rank == 12
    if noise:
        assert span.noise == pytest.approx(noise, rel=0.1)
    exact = torch.linalg.svd(gradient.double())[2][:12]
    assert torch.allclose(span.right @ span.right.T, exact.T @ exact, atol=1e-6)


def test_smoothing_takes_away_kinks_alone():
    network, _, x, _ = made(nn.ReLU())
    blurred = smoothed(network, x, 0.35)
    assert network.layers[0].has_kinks
    a = torch.linspace(-3, 3, 200, dtype=torch.float64)[:, None].expand(-1, 30)
    activation = blurred.layers[0].activation
    assert activation is not None
    assert bool((activation(a) > -1e-9).all())
    far = a.abs() > 2.9  # where no node of the blur crosses the kink
    assert torch.allclose(activation(a)[far & (a > 0)], a[far & (a > 0)], atol=0.05)


def test_what_noise_does_to_unknowns_and_to_what_depends_on_them():
    J, noise = torch.tensor([[[2.0, 0.0], [0.0, 0.5]]], dtype=torch.float64), 0.1
    regular = Uncertainty(J.mT @ J, noise**2 * J.mT @ J)
    assert float(regular.of_unknowns()) == pytest.approx(noise * math.hypot(1 / 2, 1 / 0.5))
    tangent = torch.tensor([[[3.0, 0.0]]], dtype=torch.float64)
    size, bound = torch.tensor([4.0]).double(), torch.tensor([10.0]).double()
    assert float(regular.through([(0, tangent)], [size], bound=bound)) == pytest.approx(3 * noise / 2 / 4)
    # Nothing fixes the second unknown: it may be off by the bound, which the vector does not notice or does.
    J[0, 1, 1] = 0
    loose = Uncertainty(J.mT @ J, noise**2 * J.mT @ J)
    assert float(loose.of_unknowns()) > 1e3
    assert float(loose.through([(0, tangent)], [size], bound=bound)) == pytest.approx(3 * noise / 2 / 4)
    tangent[..., 1] = 2
    assert float(loose.through([(0, tangent)], [size], bound=bound)) == pytest.approx(math.hypot(3 * noise / 2, 20) / 4)
