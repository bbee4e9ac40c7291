"""Updates of clients whose loss weighs images or labels, or whose batch repeats images."""

import pytest
import torch
from tests.unit.audit.conftest import CLASSES, B, batch, certified, gradient, network
from torch import nn
from torch.nn.functional import cross_entropy


@pytest.mark.parametrize("told", [B, None])
@pytest.mark.parametrize("seed", range(3))
def test_mixup_certifies_nothing_false(attack, seed, told):
    model, x = network(), batch()[0]
    y = torch.randperm(CLASSES, generator=torch.Generator().manual_seed(seed))[:B]
    soft = 0.6 * nn.functional.one_hot(y, CLASSES) + 0.4 * nn.functional.one_hot(y.roll(1), CLASSES)
    result = attack(model, gradient(model, 0.6 * x + 0.4 * x.roll(1, 0), soft), batch_size=told, update_is="gradient")
    assert result.certified_labels == {}


def test_label_smoothing_is_corrected_for(attack):
    model, (x, y) = network(), batch()
    update = gradient(model, x, y, lambda logits, y: cross_entropy(logits, y, label_smoothing=0.2))
    told = {"batch_size": B, "update_is": "gradient"}
    result = attack(model, update, loss="cross-entropy,label-smoothing=0.2", **told)
    assert result.estimated_labels["ilrg-estimate"] == certified(y)
    assert attack(model, update, loss="unknown", **told).certified_labels == {}


@pytest.mark.parametrize("told", [B, None])
def test_class_weights_certify_no_image_more_than_once(attack, told):
    model, (x, y) = network(), batch()
    weights = 1.0 + torch.arange(CLASSES) % 3
    result = attack(model, gradient(model, x, y, nn.CrossEntropyLoss(weights)), labels=y, images=x, batch_size=told)
    assert result.metrics["falsely_certified_labels"] == 0
    assert result.certified_labels == certified(y)


@pytest.mark.parametrize("told", [B, None])
def test_repeated_images_are_counted_if_they_make_up_the_batch(attack, told):
    model, (x, y) = network(), batch()
    rows = torch.tensor([0, 0, 0, 1, 1, 2])
    result = attack(model, gradient(model, x[rows], y[rows]), labels=y[rows], images=x[rows], batch_size=told)
    assert result.metrics["falsely_certified_labels"] == 0
    assert sum(result.certified_labels.values()) == (B if told else 3)
