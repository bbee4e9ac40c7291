"""A federated round: clients' batches, what they send, and how the server combines it before the attack."""

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from gradleak.clients.client import Client
from gradleak.clients.local_training import LocalTraining
from gradleak.clients.observation import Observation, sent_names, trainable
from gradleak.clients.round_inputs import as_sent, client_images, make_victim
from gradleak.data import datasets
from gradleak.data.base import ImageDataset
from gradleak.devices import choose_device
from gradleak.plan.jobs.attack import AttackRun
from gradleak.plan.jobs.images import FederatedOptions
from gradleak.victims.models.base import Victim
from gradleak.victims.models.pretrained import load_pretrained


@dataclass(frozen=True)
class Batch:
    """One client's batch of a round, or all clients' when they are aggregated.

    Attributes:
        trial: the round.
        client: its number, or -1 for the aggregate.
        indices: [n] int64, indices of its images in the data set.
        images: [n, c, h, w], normalised.
        labels: [n] int64.
        observation: what the server sees of it.
    """

    trial: int
    client: int
    indices: Tensor
    images: Tensor
    labels: Tensor
    observation: Observation


@dataclass(frozen=True)
class Round:
    """What all attacks of a spec share.

    Attributes:
        data: the data set.
        server: the model that the server sent, on the device.
        client: simulates a client of that model.
        device: where it runs.
    """

    data: ImageDataset
    server: Victim
    client: Client
    device: torch.device

    def pixels(self, x: Tensor) -> Tensor:
        """Map normalised images to [0, 1], clamped."""
        mean, std = self.constants(x)
        return (x * std + mean).clamp(0, 1)

    def constants(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation of the normalisation, each [c, 1, 1]."""
        mean, std = (like.new_tensor(values)[:, None, None] for values in (self.data.facts.mean, self.data.facts.std))
        return mean, std


def prepare(spec: FederatedOptions) -> Round:
    """Load the data and make the victim.

    Raises:
        InputError: missing data, or weights that do not fit or cannot be downloaded.
    """
    device = choose_device(spec.device)
    data = datasets.load(
        spec.dataset, split=spec.split, root=spec.data_root, download=spec.download, image_size=spec.image_size
    )
    model = make_victim(spec, data)
    if spec.pretrained:
        load_pretrained(model, spec.model)
    model = model.to(device)
    return Round(data, model, make_client(spec, data, model, device), device)


def make_client(spec: AttackRun, data: ImageDataset, model: Victim, device: torch.device) -> Client:
    """Return a simulated client that trains as the spec says.

    Args:
        spec: the run.
        data: the client's data set.
        model: the model that the server sent, on the device.
        device: where it runs.
    """
    training = LocalTraining(
        epochs=spec.local_epochs,
        steps=spec.local_steps,
        batch_size=spec.local_batch_size if spec.has_mini_batches else None,
        lr=spec.local_lr,
        momentum=spec.local_momentum,
        weight_decay=spec.local_weight_decay,
        bn_eval=spec.bn_eval,
    )
    side, channels = data.facts.image_size, data.facts.channels
    return Client(model, training, sent_names(model, torch.zeros(2, channels, side, side, device=device)))


def client_batches(spec: FederatedOptions, round_: Round) -> Iterator[list[Batch]]:
    """Draw the clients' batches, round by round, with what each client sends.

    Raises:
        InputError: the data cannot provide such batches.
    """
    for trial, clients in enumerate(client_images(spec, round_.data)):
        batches = []
        for client, chosen in enumerate(clients):
            images, labels = round_.data.fetch(chosen), round_.data.labels[chosen]
            on_device = images.to(round_.device)
            observation = observe_client(round_.client, round_.server, on_device, labels, round_.data.num_classes)
            seen = as_sent(spec, observation, partial(_whole, images, labels), trial, client)
            batches.append(Batch(trial, client, chosen, on_device, labels, seen))
        yield batches


def observe_client(client: Client, server: Victim, images: Tensor, labels: Tensor, num_classes: int) -> Observation:
    """Return what the server sees of a client that trains on a batch.

    Args:
        client: the client.
        server: the model that the server sent it.
        images: [B, channels, height, width], on the model's device.
        labels: [B] int64.
        num_classes: C.
    """
    sent = client.send(images, one_hot(labels, num_classes).to(images))
    gradients = dict(zip(client.names, (g.detach() for g in sent), strict=True))
    return Observation(gradients, server, len(labels), input_shape=tuple(images.shape[1:]))


def _whole(images: Tensor, labels: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    yield images, labels


def aggregate(spec: FederatedOptions, batches: list[Batch]) -> Batch:
    """Return the clients of a round as one batch, with the mean of what they sent, each scaled to norm 1 if so asked.

    With equal numbers of images, the mean of the clients' gradients is the gradient of the joint batch. A mean of
    scaled gradients is not the gradient of any batch; an objective that ignores the scale suits it. A gradient that any
    client withholds is left out.
    """
    names = [name for name in batches[0].observation.gradients if not any(b.observation.lacks([name]) for b in batches)]
    weights = [1.0] * len(batches)
    if spec.normalize_gradients:
        norms = [
            torch.sqrt(sum((g.double().square().sum() for g in batch.observation.gradients.values()), torch.zeros(())))
            for batch in batches
        ]
        weights = [1 / max(float(norm), 1e-12) for norm in norms]
    gradients = {
        name: torch.stack([w * b.observation.gradients[name] for w, b in zip(weights, batches, strict=True)]).mean(0)
        for name in names
    }
    labels = torch.cat([batch.labels for batch in batches])
    images = torch.cat([batch.images for batch in batches])
    indices = torch.cat([batch.indices for batch in batches])
    sent = replace(batches[0].observation, gradients=gradients, batch_size=len(labels))
    return Batch(batches[0].trial, -1, indices, images, labels, sent)


def updated(server: Victim, gradients: dict[str, Tensor], lr: float) -> Victim:
    """Return a copy of the model after one step along the negative aggregated gradient; parameters without one stay."""
    model = deepcopy(server)
    with torch.no_grad():
        for name, parameter in trainable(model).items():
            if name in gradients:
                parameter -= lr * gradients[name]
    return model
