"""What a control is given in place of a client's gradient: noise, so that nothing in its result can depend on it."""

from dataclasses import replace

import numpy as np
import torch
from torch.nn.functional import one_hot

from gradleak.clients.client import Client
from gradleak.clients.rounds import Batch
from gradleak.streams import stream
from gradleak.victims.head import head_of


def blind(client: Client, batch: Batch, *, seed: int) -> Batch:
    """Return a batch whose observation is noise; restored labels, guidance and choice of a start then all follow it.

    Each tensor has the norm that it has in the gradient of a made-up batch, of normal noise with random labels: the
    norms of the client's own would tell something of it.

    Args:
        client: simulates a client of the model that the server sent.
        batch: what is attacked; of its observation only the names and shapes are used.
        seed: of the noise; it also depends on the batch's place.
    """
    rng = stream("control", seed, batch.trial, batch.client)

    def drawn(shape: torch.Size) -> torch.Tensor:
        return torch.from_numpy(rng.standard_normal(tuple(shape), dtype=np.float32)).to(batch.images)

    observation = batch.observation
    C = head_of(observation.model).out_features
    labels = torch.from_numpy(rng.integers(C, size=len(batch.labels))).to(batch.images.device)
    made_up = client.send(drawn(batch.images.shape), one_hot(labels, C).to(batch.images))
    norms = {name: sent.detach().norm() for name, sent in zip(client.names, made_up, strict=True)}
    noise = {}
    for name, gradient in observation.gradients.items():
        values = drawn(gradient.shape)
        noise[name] = values * (norms[name] / values.norm().clamp(min=1e-12))
    return replace(batch, observation=replace(observation, gradients=noise))
