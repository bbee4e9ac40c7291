import numpy as np
import pytest
import torch

from gradleak.clients.defenses import perturb
from gradleak.clients.defenses.base import DefenseContext, build
from gradleak.clients.defenses.perturb import soteria_scores
from gradleak.victims.head import head_of

MODELS = [("fcn", {}), ("lenet5", {"activation": "silu", "batchnorm": True})]


def literal_scores(context: DefenseContext) -> torch.Tensor:
    """One backward pass per image and embedding unit."""
    head = head_of(context.model)
    scores = [0.0] * head.in_features
    for images, _ in context.chunks():
        for image in images:
            x = image[None].clone().requires_grad_()
            e = head.features(x)[0]
            for f in range(len(scores)):
                (gradient,) = torch.autograd.grad(e[f], x, retain_graph=True)
                scores[f] += gradient.double().norm().item() / (abs(e[f].item()) + 1e-10)
    return torch.tensor(scores, dtype=torch.float64)


@pytest.mark.parametrize(("model", "options"), MODELS)
@pytest.mark.parametrize("budget", [1, 3000, 2**20])
def test_scores_equal_those_of_the_literal_loop(make_context, monkeypatch, model, options, budget: int):
    monkeypatch.setattr(perturb, "_BUDGET", budget)
    context = make_context(model=model, **options)
    torch.testing.assert_close(soteria_scores(context), literal_scores(context), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("model", "options"), MODELS)
def test_columns_below_the_percentile_are_zeroed(make_context, model, options):
    context = make_context(model=model, **options)
    head = context.model.head
    generator = torch.Generator().manual_seed(0)
    gradients = {
        "head.weight": torch.randn(head.weight.shape, generator=generator),
        "head.bias": torch.randn(head.bias.shape, generator=generator),
        "other": torch.ones(2),
    }
    before = gradients["head.weight"].clone()
    defended = build("perturb-40")(gradients, context)
    scores = literal_scores(context).numpy()
    pruned = torch.from_numpy(scores < np.percentile(scores, 40))
    assert pruned.any()
    assert not defended["head.weight"][:, pruned].any()
    assert defended["head.weight"][:, ~pruned].equal(before[:, ~pruned])
    assert gradients["head.weight"].equal(before)
    assert defended["head.bias"] is gradients["head.bias"]
    assert defended["other"] is gradients["other"]


def test_scores_do_not_depend_on_chunks_or_mode_and_leave_no_gradient(make_context):
    options = {"model": "lenet5", "batchnorm": True}
    whole, parts = make_context(chunk=5, **options), make_context(chunk=1, **options)
    whole.model.train()
    with torch.no_grad():
        scores = soteria_scores(whole)
    torch.testing.assert_close(scores, soteria_scores(parts), rtol=1e-4, atol=1e-6)
    assert all(parameter.grad is None for parameter in whole.model.parameters())
    assert not any(images.requires_grad for images, _ in whole.chunks())
    assert scores.dtype == torch.float64


@pytest.mark.parametrize("name", ["lenet", "vgg11", "resnet18", "resnet50", "mobilenet_v2"])
def test_every_architecture_has_batched_products(name: str):
    """A fallback to a loop would raise a warning, which is an error."""
    from gradleak.victims.models.build import build as build_model

    model = build_model(name, num_classes=3, channels=3, image_size=32, seed=0)
    x = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0), requires_grad=True)
    totals = model.features(x).sum(0)
    units = torch.eye(len(totals))[:2]
    (batched,) = torch.autograd.grad(totals, x, units, retain_graph=True, is_grads_batched=True)
    for row, unit in zip(batched, units, strict=True):
        (single,) = torch.autograd.grad(totals, x, unit, retain_graph=True)
        assert (row - single).norm() <= 1e-4 * single.norm() + 1e-12
