"""Any network that ends in a linear layer can be observed, and is attacked like the same network as a Victim."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from gradleak.attacks.labels.base import build
from gradleak.clients.defenses.base import DefenseContext, apply
from gradleak.clients.observation import HEAD, Observation, observe_full, observe_head, sent_names, trainable
from gradleak.errors import InputError
from gradleak.metrics.analysis import analyse
from gradleak.metrics.images import feature_cosine
from gradleak.metrics.labels import label_metrics
from gradleak.victims.head import head_of
from gradleak.victims.models.base import Victim

C, D = 6, 9


def layers(seed: int = 0) -> list[nn.Module]:
    torch.manual_seed(seed)
    return [nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(64, D), nn.Sigmoid(), nn.Linear(D, C)]


class Known(Victim):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(*layers()[:-1])
        self.head: Any = layers()[-1]

    def features(self, x: Tensor) -> Tensor:
        return self.body(x)


class Functional(nn.Module):
    """Nothing in it is called head, and its last layer is not a module."""

    def __init__(self) -> None:
        super().__init__()
        *body, last = layers()
        assert isinstance(last, nn.Linear)
        self.W, self.b = last.weight, last.bias
        self.stem = nn.Sequential(*body)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        hidden = self.stem(x)
        return {"hidden": hidden, "logits": functional.linear(hidden, self.W, self.b)}


def foreign(kind: str) -> nn.Module:
    return nn.Sequential(*layers()) if kind == "sequential" else Functional()


@pytest.fixture
def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(12, 2, 6, 6, generator=generator), torch.randint(C, (12,), generator=generator)


@pytest.mark.parametrize("kind", ["sequential", "functional"])
def test_observed_and_attacked_like_a_victim(kind: str, batch: tuple[Tensor, Tensor]):
    images, labels = batch
    known, model = Known(), foreign(kind)
    chunks = list(zip(images.split(5), labels.split(5), strict=True))
    (as_victim, truth), (observation, same_truth) = observe_head(known, chunks), observe_head(model, chunks)
    assert list(observation.gradients) == list(HEAD)
    assert all(torch.equal(observation.gradients[name], as_victim.gradients[name]) for name in HEAD)
    assert torch.equal(truth.embeddings, same_truth.embeddings)
    guesses = {}
    for name in ("ilrg", "ilrg-estimate", "idlg", "gi", "rlg"):
        guesses[name], expected = build(name)(observation), build(name)(as_victim)
        assert torch.equal(guesses[name].presence, expected.presence)
        if expected.counts is not None:
            assert torch.equal(guesses[name].counts, expected.counts)
    head = head_of(model)
    assert label_metrics(guesses["ilrg"], truth, head=head) == label_metrics(guesses["ilrg"], truth, head=known.head)
    assert analyse(observation, guesses["ilrg"], truth, head) == analyse(as_victim, guesses["ilrg"], truth, known.head)


@pytest.mark.parametrize("kind", ["sequential", "functional"])
def test_all_gradients(kind: str, batch: tuple[Tensor, Tensor]):
    model = foreign(kind)
    expected, full = observe_full(Known(), *batch), observe_full(model, *batch)
    values = [g.sum().item() for g in expected.gradients.values()]
    assert sorted(g.sum().item() for g in full.gradients.values()) == pytest.approx(sorted(values))
    for name in HEAD:
        torch.testing.assert_close(full.gradients[name], expected.gradients[name])
    assert sorted(full.gradients) == sorted(sent_names(model, batch[0])) == sorted(trainable(model))
    own = {name for name, _ in model.named_parameters()}
    assert set(full.gradients) - set(HEAD) == own - {head_of(model).weight_name, head_of(model).bias_name}


@pytest.mark.parametrize("kind", ["sequential", "functional"])
def test_defended_and_compared_like_a_victim(kind: str, batch: tuple[Tensor, Tensor]):
    images, labels = batch
    sent = []
    for model in (Known(), foreign(kind)):
        observation, _ = observe_head(model, [batch])
        context = DefenseContext(torch.Generator().manual_seed(0), model, lambda: [(images, labels)])
        sent.append(apply(observation, ["clip-0.1", "perturb-40"], scope="head", context=context))
        guess = images.flip(0).sigmoid()
        cosine = feature_cosine(model, images.sigmoid(), guess, lambda x: x)
        sent[-1].gradients["cosine"] = cosine
    assert all(torch.equal(sent[0].gradients[name], sent[1].gradients[name]) for name in (*HEAD, "cosine"))
    assert (sent[1].head_weight == 0).all(0).any()


def test_a_frozen_bias_is_not_sent(batch: tuple[Tensor, Tensor]):
    model: Any = foreign("functional")
    model.b.requires_grad_(False)
    assert list(observe_head(model, [batch])[0].gradients) == ["head.weight"]


def test_a_model_that_was_never_traced(batch: tuple[Tensor, Tensor]):
    model = foreign("sequential")
    gradients = observe_head(Known(), [batch])[0].gradients
    with pytest.raises(InputError, match=r"^model Sequential: its last layer is not known; observe it, or call"):
        build("ilrg")(Observation(gradients, model, 12))
    head_of(model, batch[0])
    build("ilrg")(Observation(gradients, model, 12))


def test_another_layer_called_head(batch: tuple[Tensor, Tensor]):
    class Misnamed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head, self.fc = nn.Conv2d(2, 1, 3), nn.Linear(16, C)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(self.head(x).flatten(1))

    with pytest.raises(InputError, match=r"^model Misnamed: its parameter head\.weight is not that of its last layer"):
        observe_head(Misnamed(), [batch])


def test_a_network_without_a_last_linear_layer(batch: tuple[Tensor, Tensor]):
    model = nn.Sequential(nn.Conv2d(2, C, 6), nn.Flatten())
    for observe in (lambda: observe_head(model, [batch]), lambda: observe_full(model, *batch)):
        with pytest.raises(InputError, match=r"its logits come from conv2d at 0, not from a linear layer"):
            observe()


class Viewed(nn.Module):
    """A convolution whose output is viewed as vectors, which is impossible for channels-last images."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 4, 3), nn.Linear(4 * 36, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.relu(self.first(x)).view(x.size(0), -1))


def test_features_may_be_viewed_as_vectors():
    torch.manual_seed(0)
    model, images, labels = Viewed(), torch.rand(6, 3, 8, 8), torch.arange(6) % 5
    head, _ = observe_head(model, [(images, labels)])
    full = observe_full(model, images, labels)
    for name, gradient in head.gradients.items():
        torch.testing.assert_close(gradient, full.gradients[name])
