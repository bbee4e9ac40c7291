"""Directions of errors from the column spaces, beside those of a client that computes in float32."""

from dataclasses import replace

import pytest
import torch
from tests.unit.attacks.exact.problems import errors_of, gradients_of, network_of, trained_relu
from torch import nn
from torch.nn.functional import normalize

from gradleak.attacks.exact import turned
from gradleak.attacks.exact.evidence import own_rounding, telling_columns
from gradleak.attacks.exact.spans import decomposed
from gradleak.attacks.exact.turned import turned_errors

B = 16


def sure_client(seed: int = 0):
    """A client in float32 that is sure of its images: network, spans, inputs on their way, labels, its errors."""
    parameters, x, y = trained_relu(B, steps=400, seed=seed)
    gradients = [g.double() for g in gradients_of(parameters, nn.ReLU(), x, y, torch.float32)]
    network = network_of(parameters, nn.ReLU(), torch.float32)
    spans = decomposed(gradients, precision=torch.float32, batch_size=B)
    columns = [span if i in telling_columns(spans) else None for i, span in enumerate(spans)]
    passed = network.forward(x.double())
    return network, columns, passed, y, errors_of(parameters, nn.ReLU(), x, y)


def between(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return (normalize(a, dim=1) - normalize(b, dim=1)).norm(dim=1)


@pytest.mark.parametrize("most", [128, 4])
def test_a_sure_clients_errors_are_known_better_than_exact_ones(most, monkeypatch):
    monkeypatch.setattr(turned, "_MOST", most)
    network, columns, passed, y, true = sure_client()
    exact = network.errors(passed, y)
    own = own_rounding(network, passed, exact)
    found, predicted = turned_errors(network, columns, passed, y, exact, torch.full_like(own, 1e-7), own)
    better = predicted < 1e-5
    assert int(better.sum()) >= 12
    sure = better & (between(exact[0], true[0]) > 1e-5)  # the client's rounding is far above the gradient's
    assert int(sure.sum()) >= 8
    assert bool((between(found[0], true[0]) < between(exact[0], true[0]) / 20)[sure].all())
    worst = torch.stack([between(a, b) for a, b in zip(found, true, strict=True)]).amax(0)
    assert bool((worst < 10 * predicted)[better].all())
    assert bool((worst > predicted / 10)[better].all())
    # The length stays: the column spaces say nothing of it.
    assert torch.allclose(found[0].norm(dim=1)[sure], exact[0].norm(dim=1)[sure], rtol=1e-3)


def test_nothing_is_turned_where_the_slopes_are_wrong():
    network, columns, passed, y, _ = sure_client()
    wrong = 1 - passed.slopes[1]
    passed = replace(passed, slopes=(passed.slopes[0], wrong))
    exact = network.errors(passed, y)
    own = own_rounding(network, passed, exact)
    found, predicted = turned_errors(network, columns, passed, y, exact, torch.full_like(own, 1e-7), own)
    assert all(torch.equal(a, b) for a, b in zip(found, exact, strict=True))
    assert torch.equal(predicted, own + 1e-7)


def test_errors_that_the_slopes_do_not_lead_to_stay():
    network, columns, passed, y, _ = sure_client()
    first, *others = network.errors(passed, y)
    completed = first.clone()
    completed[:, 0] += 1e-3 * first.norm(dim=1)
    own = own_rounding(network, passed, [first, *others])
    found, _ = turned_errors(network, columns, passed, y, [completed, *others], torch.full_like(own, 1e-7), own)
    assert torch.equal(found[0], completed)


def test_errors_known_as_well_as_the_gradient_stay():
    network, columns, passed, y, _ = sure_client()
    exact = network.errors(passed, y)
    small = torch.full((B,), 1e-8, dtype=torch.float64)
    found, predicted = turned_errors(network, columns, passed, y, exact, small, small)
    assert all(torch.equal(a, b) for a, b in zip(found, exact, strict=True))
    assert torch.equal(predicted, 2 * small)
