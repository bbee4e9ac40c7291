"""The closed form against autograd, the truth against loops, and the content of observations."""

import weakref
from collections.abc import Iterator
from dataclasses import fields

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from gradleak.clients.observation import BatchTruth, Observation, observe_full, observe_head
from gradleak.plan import catalogue
from gradleak.victims.chunks import chunk_size
from gradleak.victims.models.base import Victim
from gradleak.victims.models.build import build

C = 10


def batch(B: int, *, channels: int = 3, size: int = 32) -> tuple[Tensor, Tensor]:
    """Return random images and labels; for the sizes used here, some class is absent and some repeats."""
    generator = torch.Generator().manual_seed(B)
    images = torch.randn(B, channels, size, size, generator=generator)
    return images, torch.randint(C // 2, (B,), generator=generator)


def victim(name: str) -> Victim:
    """Return a victim whose BatchNorm statistics look trained: roughly those of its activations, not 0 and 1."""
    model = build(name, num_classes=C, channels=3, image_size=32, seed=0)
    norms = [layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)]
    if not norms:
        return model
    for norm in norms:
        norm.momentum = 1.0
    model.train()
    with torch.no_grad():
        model(batch(4)[0])
        generator = torch.Generator().manual_seed(1)
        for norm in norms:
            assert norm.running_mean is not None
            assert norm.running_var is not None
            norm.running_mean += 0.2 * torch.randn(norm.num_features, generator=generator)
            norm.running_var *= 0.5 + torch.rand(norm.num_features, generator=generator)
            norm.running_var += 0.1
            norm.weight.uniform_(0.5, 1.5, generator=generator)
            norm.bias.uniform_(-0.5, 0.5, generator=generator)
    return model.eval()


def relative(a: Tensor, b: Tensor) -> float:
    return ((a - b).norm() / b.norm()).item()


def autograd_head(model: Victim, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Head gradients by autograd, without the cost of the other parameters' gradients."""
    with torch.no_grad():
        embeddings = model.features(images)
    loss = functional.cross_entropy(model.head(embeddings), labels)
    weight, bias = torch.autograd.grad(loss, (model.head.weight, model.head.bias))
    return weight, bias


@pytest.mark.parametrize("name", catalogue.names("models"))
def test_closed_form_equals_autograd(name: str):
    model = victim(name)
    images, labels = batch(2 if name.startswith("resnet") else 6)
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.float64, 1e-10)):
        model.to(dtype)
        observation, _ = observe_head(model, [(images.to(dtype), labels)])
        weight, bias = autograd_head(model, images.to(dtype), labels)
        assert observation.head_weight.dtype == dtype
        assert relative(observation.head_weight, weight) < tolerance
        assert relative(observation.head_bias, bias) < tolerance


@pytest.mark.parametrize("name", ["fcn", "lenet5", "resnet18"])
def test_head_and_full_observations_agree(name: str):
    model = victim(name).double()
    images, labels = batch(3)
    head, _ = observe_head(model, [(images.double(), labels)])
    full = observe_full(model, images.double(), labels)
    assert list(full.gradients) == [key for key, _ in model.named_parameters()]
    assert set(head.gradients) == {"head.weight", "head.bias"}
    for key, gradient in head.gradients.items():
        assert relative(gradient, full.gradients[key]) < 1e-10
    assert head.batch_size == full.batch_size == 3
    assert all(full.gradients[key].shape == p.shape for key, p in model.named_parameters())


@pytest.mark.parametrize("name", ["lenet5", "mobilenet_v2"])
def test_observing_does_not_change_the_victim(name: str):
    model = victim(name).train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    layouts = {key: value.stride() for key, value in model.state_dict().items()}
    observation, _ = observe_head(model, [batch(3)])
    assert observation.model is model
    assert not model.training
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key])
        assert value.stride() == layouts[key]


@pytest.mark.parametrize("n", [1, 3, 7, 11])
def test_results_do_not_depend_on_chunks(n: int):
    model = victim("lenet5").double()
    images, labels = batch(11)
    images = images.double()
    whole, whole_truth = observe_head(model, [(images, labels)])
    parts = zip(images.split(n), labels.split(n), strict=True)
    chunked, truth = observe_head(model, parts)
    assert chunked.batch_size == 11
    for key, gradient in whole.gradients.items():
        assert relative(chunked.gradients[key], gradient) < 1e-12
    for field in fields(BatchTruth):
        torch.testing.assert_close(getattr(truth, field.name), getattr(whole_truth, field.name))


def test_chunks_are_freed_after_use():
    """Memory must not grow with the batch: at most the current chunk and the next one are alive."""
    alive: weakref.WeakSet[Tensor] = weakref.WeakSet()
    most = 0

    def chunks() -> Iterator[tuple[Tensor, Tensor]]:
        nonlocal most
        for _ in range(6):
            images, labels = batch(2)
            alive.add(images)
            most = max(most, len(alive))
            yield images, labels

    observe_head(victim("lenet5"), chunks())
    assert most <= 2


def test_truth_equals_a_loop():
    model = victim("lenet5").double()
    images, labels = batch(12)
    images = images.double()
    _, truth = observe_head(model, zip(images.split(5), labels.split(5), strict=True))
    with torch.no_grad():
        e = model.features(images)
        z = model.head(e)
        p = torch.softmax(z, 1)
    for c in range(C):
        own = [n for n in range(12) if labels[n] == c]
        assert truth.counts[c] == len(own)
        for means, values in ((truth.embeddings, e), (truth.logits, z), (truth.probabilities, p)):
            mean = sum(values[n] for n in own) / len(own) if own else torch.zeros_like(values[0])
            torch.testing.assert_close(means[c], mean)
    assert (truth.counts == 0).any()
    assert (truth.counts > 1).any()
    assert truth.counts.dtype == torch.int64
    assert truth.embeddings.dtype == truth.logits.dtype == truth.probabilities.dtype == torch.float64


@pytest.mark.parametrize("name", ["fcn", "lenet", "vgg11"])
def test_bias_gradient_and_mean_probability_give_the_counts(name: str):
    """k = B (mean p - dL/db), the identity that the label methods rest on."""
    observation, truth = observe_head(victim(name), [batch(9)])
    mean = truth.counts.double() @ truth.probabilities / 9
    k = 9 * (mean - observation.head_bias.double())
    torch.testing.assert_close(k, truth.counts.double(), atol=1e-5, rtol=0)


def test_observation_holds_no_truth():
    images, labels = batch(4)
    observation, truth = observe_head(victim("fcn"), [(images, labels)])
    known = {"gradients", "model", "batch_size", "side", "input_shape", "precision"}
    assert {field.name for field in fields(Observation)} == known
    assert all(getattr(observation.side, field.name) is None for field in fields(observation.side))
    hidden = {t.data_ptr() for t in (images, labels, *(getattr(truth, f.name) for f in fields(truth)))}
    assert hidden.isdisjoint(t.data_ptr() for t in observation.gradients.values())
    assert hidden.isdisjoint(t.data_ptr() for t in observation.model.state_dict().values())


def test_gradients_can_be_targets_of_an_attack():
    """Tensors made under inference mode could not be saved for a backward pass."""
    observation, _ = observe_head(victim("fcn"), [batch(2)])
    guess = torch.zeros_like(observation.head_bias, requires_grad=True)
    (guess * observation.head_bias).sum().backward()
    assert guess.grad is not None
    assert torch.equal(guess.grad, observation.head_bias)


def test_empty_batch_is_refused():
    with pytest.raises(ValueError, match="empty batch"):
        observe_head(victim("fcn"), [])


def test_chunk_size_bounds_the_pixels():
    assert [chunk_size(size) for size in (28, 32, 64)] == [64, 64, 64]
    assert chunk_size(224) == 8
    assert all(chunk_size(size) >= 1 for size in (512, 4096))
    assert all(chunk_size(size) * size**2 <= 64 * 80**2 for size in range(1, 600))
