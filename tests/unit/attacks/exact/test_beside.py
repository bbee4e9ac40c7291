"""Equations that images give for one another, on trained networks."""

from dataclasses import replace

import pytest
import torch
from tests.unit.attacks.exact.problems import gradients_of, network_of, trained_relu
from torch import nn

from gradleak.attacks.exact.affine import Affine
from gradleak.attacks.exact.beside import equations, pull
from gradleak.attacks.exact.evidence import examine
from gradleak.attacks.exact.inversion import invert
from gradleak.attacks.exact.network import augmented
from gradleak.attacks.exact.spans import decomposed

B = 16


def beside(seed: int):
    """The layers, the spans, the images as the gradient shows them, and what speaks for them."""
    parameters, x, y = trained_relu(B, seed=seed)
    gradients = [g.double() for g in gradients_of(parameters, nn.ReLU(), x, y, torch.float32)]
    network = network_of(parameters, nn.ReLU(), torch.float32)
    spans = decomposed(gradients, precision=torch.float32, batch_size=B)
    affine = Affine(spans[0].right)
    h = affine.inputs(affine.unknowns(augmented(x.double()) @ spans[0].right))
    return network, spans, affine, h, examine(network, spans, h)


@pytest.mark.parametrize("seed", range(4))
def test_images_pair_to_0_within_what_is_predicted_and_what_is_off_does_not(seed):
    network, spans, affine, h, found = beside(seed)
    known = equations(network, spans, affine, found, h, of_themselves=True)
    assert bool((known.weights.diagonal() == 0).all())  # an image gives no equation for itself

    def excess(inputs: torch.Tensor) -> torch.Tensor:
        return known.excess(affine.unknowns(augmented(inputs) @ spans[0].right))

    assert 0.03 < float(excess(h).median()) < 1  # predicted for the worst case, but not out of all proportion
    assert float(excess(h).max()) < 2
    # A hundredth of another image gives it away, unless that one's error is known too badly.
    known_well = found.of_directions.roll(1) < 1e-5
    assert int(known_well.sum()) >= 10
    assert float(excess(h + 0.01 * (h.roll(1, 0) - h))[known_well].median()) > 100


def test_an_error_that_is_off_breaks_the_equations_and_a_stated_uncertainty_loosens_them():
    network, spans, affine, h, found = beside(0)
    s = affine.unknowns(augmented(h) @ spans[0].right)
    mixed = (found.errors[0] + 0.01 * found.errors[0].roll(1, 0), *found.errors[1:])
    off = replace(found, errors=mixed)
    assert float(equations(network, spans, affine, off, h, of_themselves=True).excess(s).max()) > 10
    stated = replace(off, of_directions=torch.full_like(off.error, 10.0))
    assert float(equations(network, spans, affine, stated, h, of_themselves=True).excess(s).max()) < 1


def test_the_pull_is_a_tenth_of_what_noise_does_to_an_input():
    _, spans, affine, h, _ = beside(0)
    t = augmented(h) @ spans[0].right
    s = affine.unknowns(t)
    known = pull(spans[0], affine, len(h))
    noise = spans[0].noise * h.shape[1] ** 0.5 * (t / spans[0].values).norm(dim=1)
    assert torch.allclose(known.residuals(s).norm(dim=1), 0.1 * noise, rtol=1e-6)


@pytest.mark.parametrize("batch_size", [20, 28])
def test_an_image_whose_error_is_too_vague_to_take_it_out_is_given_in_the_end_without_a_certificate(batch_size):
    parameters, x, y = trained_relu(batch_size, shift=1.0, steps=200, seed=4)
    gradients = [each.double() for each in gradients_of(parameters, nn.ReLU(), x, y, torch.float32)]
    network = network_of(parameters, nn.ReLU(), torch.float32)
    inversion = invert(network, gradients, precision=torch.float32, batch_size=batch_size)
    distances = torch.cdist(x.double(), inversion.inputs) / x.double().norm(dim=1, keepdim=True)
    assert bool((distances.amin(1) < 2e-2).all())
    vague = inversion.error > 0.1
    assert int(vague.sum()) == 1
    assert not bool(inversion.labels_certified[vague].any())
