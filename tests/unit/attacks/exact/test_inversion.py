"""What exact inversion finds in batches whose content is known."""

from itertools import pairwise

import pytest
import torch
from tests.unit.attacks.exact.problems import gradients_of, network_of, trained_relu
from torch import nn

from gradleak.attacks.exact.inversion import invert
from gradleak.attacks.exact.network import Network
from gradleak.attacks.exact.pairing import Pairings, multiplicities

ACTIVATIONS = [nn.ReLU(), nn.SiLU(), nn.GELU(), nn.Sigmoid(), nn.LeakyReLU(0.1)]


def batch(B: int, *, sizes=(50, 60, 60, 10), seed=0, repeated=0):
    generator = torch.Generator().manual_seed(seed)
    parameters = [
        (
            (2 * torch.rand(o, i, generator=generator) - 1) / i**0.5,
            (2 * torch.rand(o, generator=generator) - 1) / i**0.5,
        )
        for i, o in pairwise(sizes)
    ]
    x = torch.randn(B, sizes[0], generator=generator)
    y = torch.randint(sizes[-1], (B,), generator=generator)
    x[:repeated], y[:repeated] = x[-1], y[-1]
    return parameters, x, y


def attacked(
    parameters, activation, x, y, *, told: int | None = -1, scale=1.0, dtype=torch.float32, precision=None, head=False
):
    gradients = [scale * g for g in gradients_of(parameters, activation, x, y, dtype)]
    if precision is not None:
        gradients = [g.to(precision) for g in gradients]
    network = network_of(parameters, activation, dtype)
    if head:
        network, gradients = Network(network.layers[-1:], network.computed_in), gradients[-1:]
    return invert(
        network,
        [g.double() for g in gradients],
        precision=precision or dtype,
        batch_size=len(x) if told == -1 else told,
    )


def right(inversion, x, y) -> int:
    """How many of the batch are found with their labels, to their stated errors."""
    distances = torch.cdist(inversion.inputs, x.double()) / x.double().norm(dim=1)
    nearest = distances.min(1)
    good = inversion.inputs_certified & (nearest.values <= inversion.error) & (inversion.labels == y[nearest.indices])
    assert int(good.sum()) == int(inversion.inputs_certified.sum())
    return int(good.sum())


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("B", [1, 4, 20])
def test_every_image_and_label_of_an_untrained_network(activation, B):
    parameters, x, y = batch(B)
    inversion = attacked(parameters, activation, x, y)
    assert (inversion.rank, inversion.kind, inversion.batch_size) == (B, "forward", pytest.approx(B, rel=1e-3))
    assert right(inversion, x, y) == B
    assert float(inversion.error.max()) < 1e-2


def test_double_precision_with_a_batch_size_that_single_precision_divides_inexactly():
    parameters, x, y = batch(5)
    parameters = [(W.double(), b.double()) for W, b in parameters]
    inversion = attacked(parameters, nn.ReLU(), x.double(), y, dtype=torch.float64)
    assert right(inversion, x, y) == 5


def test_images_that_activate_fewer_units_than_there_are_unknowns_fix_one_another():
    ((W, b), *others), x, y = batch(20)
    parameters = [(W, b - (x @ W.T).std()), *others]
    active = (x @ W.T + parameters[0][1] > 0).sum(1)
    assert int(active.max()) < len(x) - 1  # the next layer alone fixes none of them
    assert right(attacked(parameters, nn.ReLU(), x, y), x, y) == len(x)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("steps", "shift", "least"), [(60, 1.5, 24), (150, 1.0, 12)])
def test_a_trained_relu_network_gives_most_images_away(steps, shift, least, seed):
    parameters, x, y = trained_relu(30, steps=steps, shift=shift, seed=seed)
    # Of inputs alone, without sparse search, directions and the pull: 6 to 13, and 4 to 7.
    assert right(attacked(parameters, nn.ReLU(), x, y), x, y) >= least


@pytest.mark.parametrize("layer", [0, 1])
def test_rounding_may_put_a_unit_on_either_side_of_a_kink(layer):
    parameters, x, y = batch(24)
    h = x
    for W, b in parameters[:layer]:
        h = torch.relu(h @ W.T + b)
    W, b = parameters[layer]
    b = b.clone()
    b[:24] -= (h @ W.T + b)[:, :24].diagonal()  # every image has a unit whose output is 0, but for rounding
    parameters[layer] = (W, b)
    assert right(attacked(parameters, nn.ReLU(), x, y), x, y) == len(x)


def test_a_smooth_network_of_one_hidden_layer_by_its_errors():
    parameters, x, y = batch(12, sizes=(50, 60, 10))
    inversion = attacked(parameters, nn.SiLU(), x, y)
    assert inversion.kind == "backward"
    assert right(inversion, x, y) == 12


def test_a_relu_network_of_one_hidden_layer_is_not_certified():
    parameters, x, y = batch(12, sizes=(50, 60, 10))
    inversion = attacked(parameters, nn.ReLU(), x, y)
    assert not bool(inversion.labels_certified.any())


def test_the_head_alone_gives_labels_and_features():
    parameters, x, y = batch(8, sizes=(30, 40, 60))
    h = torch.relu(x @ parameters[0][0].T + parameters[0][1])
    inversion = attacked(parameters, nn.ReLU(), x, y, head=True)
    assert inversion.kind == "head"
    assert right(inversion, h, y) == 8


def test_copies_count():
    parameters, x, y = batch(10, repeated=3)
    inversion = attacked(parameters, nn.ReLU(), x, y)
    assert inversion.rank == 7
    assert sorted(inversion.multiplicity.tolist()) == [1] * 6 + [4]
    assert right(inversion, x, y) == 7
    assert int((inversion.multiplicity * inversion.labels_certified).sum()) == 10


@pytest.mark.parametrize("scale", [0.99, 1.015])
def test_a_norm_that_was_clipped_by_little_is_a_scale_not_a_mixture_of_images(scale):
    parameters, x, y = batch(10)
    inversion = attacked(parameters, nn.SiLU(), x, y, scale=scale)
    assert inversion.batch_size == pytest.approx(10 / scale, rel=1e-3)
    assert inversion.mixture.tolist() == inversion.multiplicity.tolist() == [1] * 10
    assert right(inversion, x, y) == 10


@pytest.mark.parametrize(("told", "scale", "seen"), [(None, 1.0, 10), (8, 1.0, 10), (20, 1.0, 10), (10, 10.0, 1)])
def test_the_batch_size_is_read_off_the_gradient(told, scale, seen):
    parameters, x, y = batch(10)
    inversion = attacked(parameters, nn.SiLU(), x, y, told=told, scale=scale)
    assert inversion.batch_size == pytest.approx(seen, rel=1e-3)
    assert set(inversion.multiplicity.tolist()) == {1}
    assert right(inversion, x, y) == 10


@pytest.mark.parametrize(("precision", "least"), [(torch.float64, 8), (torch.float32, 8), (torch.float16, 4)])
def test_what_is_stated_follows_the_precision(precision, least):
    parameters, x, y = batch(8)
    dtype = torch.float64 if precision == torch.float64 else torch.float32
    inversion = attacked(parameters, nn.SiLU(), x, y, dtype=dtype, precision=precision)
    assert right(inversion, x, y) == int(inversion.inputs_certified.sum())
    found = torch.cdist(x.double(), inversion.inputs).min(1).values / x.double().norm(dim=1)
    assert int((found < 0.3).sum()) >= least


def test_inputs_that_span_all_directions_are_refused():
    parameters, x, y = batch(12, sizes=(8, 60, 60, 10))
    inversion = attacked(parameters, nn.ReLU(), x, y)
    assert (len(inversion.labels), inversion.rank) == (0, 9)


def test_the_same_gradient_gives_the_same_bits():
    parameters, x, y = batch(20)
    first, second = (attacked(parameters, nn.ReLU(), x, y) for _ in range(2))
    assert torch.equal(first.inputs, second.inputs)
    assert torch.equal(first.error, second.error)


def test_more_images_than_the_batch_size_that_was_told_speak_for_another_scale():
    """Twelve copies and one more, a little louder: thirteen times one image would leave no room for the other."""
    own = torch.tensor([13 / 12 / 1.085, 13 / 1.085], dtype=torch.float64)
    pairs = Pairings(own.diag(), (own * torch.tensor([1e-3, 0.03])).diag(), torch.ones(2, dtype=torch.bool))
    times = multiplicities(pairs, 13)
    assert times.certain.tolist() == [12, 1]
