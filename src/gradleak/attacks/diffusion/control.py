"""Controls get noise in place of a client's gradient, so that nothing in their results can depend on it."""

from dataclasses import replace

import numpy as np
import torch
from torch.nn.functional import one_hot

from gradleak.clients.client import Client
from gradleak.clients.rounds import Batch
from gradleak.streams import stream
from gradleak.victims.head import head_of


def blind(client: Client, batch: Batch, *, seed: int) -> Batch:
    """Return a batch whose observation is noise; restored labels, guidance and the choice of a start then depend on it.

    Each tensor has the norm of its counterpart in the gradient of an artificial batch, normal noise with random labels:
    the norms of the client's own gradient would reveal something about it.

    Args:
        client: simulates a client of the model that the server sent.
        batch: the batch; only the names and shapes of its observation are used.
        seed: seed of the noise, combined with the batch's round and client.
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
