"""The sparse search: inputs of the second layer by their zeros, and inputs of the first that lead there."""

import pytest
import torch
from tests.unit.attacks.exact.problems import gradients_of, network_of, trained_relu
from torch import nn

from gradleak.attacks.exact import sparse
from gradleak.attacks.exact.affine import Affine
from gradleak.attacks.exact.beside import pull
from gradleak.attacks.exact.evidence import examine
from gradleak.attacks.exact.network import Layer, augmented
from gradleak.attacks.exact.search import Search
from gradleak.attacks.exact.spans import Span, decompose, decomposed
from gradleak.attacks.exact.sparse import behind, rectifies, sparse_inputs


def planted(k: int = 15, *, width: int = 100, share: float = 0.3) -> tuple[torch.Tensor, Affine]:
    """Nonnegative vectors [k, width] with a share of entries above 0, and the row space that holds them."""
    generator = torch.Generator().manual_seed(0)
    h = torch.rand(k, width, generator=generator, dtype=torch.float64)
    h = h * (torch.rand(k, width, generator=generator) < share)
    return h, Affine(torch.linalg.qr(augmented(h).T)[0])


def mixtures(h: torch.Tensor, count: int) -> torch.Tensor:
    weights = torch.rand(count, len(h), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return weights.square() / weights.square().sum(1, keepdim=True) @ h


def test_planted_sparse_vectors_are_reached_from_mixtures():
    h, affine = planted()
    starts = mixtures(h, 60)
    assert float((torch.cdist(starts, h) / h.norm(dim=1)).min()) > 0.3
    reached = torch.cdist(sparse_inputs(affine, starts), h) / h.norm(dim=1)
    assert int((reached.min(1).values < 1e-3).sum()) >= 50  # of 60 starts
    assert int((reached.min(0).values < 1e-3).sum()) >= 7


def test_parts_that_fit_into_memory_lead_to_the_same(monkeypatch):
    h, affine = planted()
    starts = mixtures(h, 7)
    whole = sparse_inputs(affine, starts)
    monkeypatch.setattr(sparse, "NUMBERS", 3 * affine.basis.numel())
    assert torch.allclose(sparse_inputs(affine, starts), whole, atol=1e-9)


@pytest.mark.parametrize(
    ("activation", "expected"),
    [
        (nn.ReLU(), True),
        (lambda a: a.clamp(min=0), True),
        (nn.LeakyReLU(0.1), False),
        (nn.ReLU6(), False),
        (nn.SiLU(), False),
        (nn.GELU(), False),
        (nn.Hardswish(), False),
        (nn.Identity(), False),
    ],
)
def test_a_relu_is_told_from_its_kin(activation, expected):
    assert rectifies(Layer(torch.ones(3, 2).double(), torch.zeros(3).double(), activation)) is expected


def spans_of(B: int) -> tuple[list[Span], Layer, torch.Tensor]:
    parameters, x, y = trained_relu(B)
    gradients = [g.double() for g in gradients_of(parameters, nn.ReLU(), x, y, torch.float64)]
    spans = [decompose(gradient, precision=torch.float64, batch_size=B) for gradient in gradients]
    return spans, network_of(parameters, nn.ReLU(), torch.float64).layers[0], x.double()


def test_inputs_lead_to_what_the_second_layer_reads():
    spans, layer, x = spans_of(10)
    affine = Affine(spans[0].right)
    following = torch.relu(x @ layer.weight.T + layer.bias)
    assert float((following > 0).double().mean()) < 0.4
    starts = affine.unknowns(augmented(x.roll(1, 0)) @ spans[0].right)
    s = behind(layer, affine, following, starts, pull(spans[0], affine, len(x)))
    led = torch.relu(affine.inputs(s) @ layer.weight.T + layer.bias)
    assert float(((led - following).norm(dim=1) / following.norm(dim=1)).max()) < 1e-3


def test_a_second_layer_whose_images_are_all_known_is_not_searched():
    parameters, x, y = trained_relu(20, steps=0)
    gradients = [g.double() for g in gradients_of(parameters, nn.ReLU(), x, y, torch.float64)]
    network = network_of(parameters, nn.ReLU(), torch.float64)
    first, second, third = decomposed(gradients, precision=torch.float64, batch_size=20)
    fewer = Span(
        second.left[:, :19], second.values[:19], second.right[:, :19], second.gradient,
        second.rounding, second.floor, second.noise, second.edge, second.saturated,
    )  # fmt: skip
    known = examine(network, [first, second, third], x.double()[:18])
    search = Search(network, (first, fewer, third))
    assert not len(search.candidates(known, None, 0, torch.Generator().manual_seed(0)))
