"""A federated round up to the attack: the victim that the server sends, the clients' batches, and what they send."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from gradleak.clients.defenses.base import DefenseContext, apply
from gradleak.clients.observation import Observation
from gradleak.clients.precision import rounded
from gradleak.data import batches
from gradleak.data.base import ImageDataset
from gradleak.data.subsets import train_subset
from gradleak.errors import InputError
from gradleak.plan.jobs.attack import AttackRun
from gradleak.plan.jobs.images import FederatedOptions
from gradleak.plan.jobs.options import BatchOptions
from gradleak.sidecars import REMEDY
from gradleak.streams import stream
from gradleak.victims import checkpoints
from gradleak.victims.models.base import Victim
from gradleak.victims.models.build import build
from gradleak.victims.training import victim_weights


def make_victim(spec: AttackRun, data: ImageDataset) -> Victim:
    """Return the model of the round on the CPU: untrained, at its training stage, or with the user's weights.

    Raises:
        InputError: weights that do not fit, or a training that fails.
    """
    model = build(
        spec.model,
        num_classes=data.num_classes,
        channels=data.facts.channels,
        image_size=data.facts.image_size,
        seed=spec.victim_seed,
        **spec.model_options(),
    )
    weights = victim_weights(spec)
    if weights is not None:
        # Weights that gradleak trained are trained again once they are gone.
        remedy = {} if weights == spec.checkpoint else {"remedy": REMEDY}
        checkpoints.load(model, weights, **remedy)
    return model


def client_keys(spec: BatchOptions, trial: int, client: int) -> tuple[object, ...]:
    """Return the keys of a client's random streams: the same for all attacks, so that they get the same batches.

    The first client has the keys of the label experiments, which have one client.
    """
    keys = (spec.dataset, spec.distribution_id, spec.batch_size, spec.seed, trial)
    return (*keys, f"client{client}") if client else keys


def draw_batch(spec: BatchOptions, data: ImageDataset, trial: int, client: int = 0) -> Tensor:
    """Return the images of a client's batch, [B] int64 indices.

    Raises:
        InputError: the data cannot provide such a batch.
    """
    among = train_subset(data, spec.train_images) if spec.split == "train" else torch.arange(len(data))
    chosen = batches.select(
        data.labels[among],
        data.num_classes,
        spec.distribution,
        spec.batch_size,
        stream("batch", *client_keys(spec, trial, client)),
        num_uniform_cls=spec.num_uniform_cls or 0,
        num_target_cls=spec.num_target_cls or 0,
    )
    return among[chosen]


def in_own_order(spec: AttackRun, batch: Tensor, trial: int, client: int = 0) -> Tensor:
    """Return a client's images in the order in which it trains on them, [B] int64 indices.

    Batches are grouped by class, and mini-batches would be too. The order has a stream of its own, so that the batches
    are the same as without mini-batches, where the order stays as drawn.
    """
    if not spec.has_mini_batches:
        return batch
    return batch[torch.from_numpy(stream("local-order", *client_keys(spec, trial, client)).permutation(len(batch)))]


def client_images(spec: FederatedOptions, data: ImageDataset) -> list[list[Tensor]]:
    """Return the images of every client of every round, [n] int64 indices: named by the user, in order, or drawn.

    Raises:
        InputError: an index outside the data set, or the data cannot provide such batches.
    """
    if not spec.client_indices:
        clients = range(spec.num_clients)
        return [
            [in_own_order(spec, draw_batch(spec, data, trial, client), trial, client) for client in clients]
            for trial in range(spec.num_tries)
        ]
    chosen = torch.tensor([int(index) for index in spec.client_indices])
    outside = chosen[chosen >= len(data)]
    if len(outside):
        raise InputError(
            f"--client-indices: {int(outside[0])} is outside the {len(data)} images; use 0 to {len(data) - 1}"
        )
    return [list(chosen.split(spec.batch_size))]


def as_sent(
    spec: AttackRun,
    observation: Observation,
    chunks: Callable[[], Iterable[tuple[Tensor, Tensor]]],
    trial: int,
    client: int = 0,
) -> Observation:
    """Return what the server sees of a client that defends its gradient, and rounds it, as the spec says.

    Args:
        spec: names the defenses and the type that is sent.
        observation: the undefended gradient.
        chunks: the client's batch, see :class:`gradleak.clients.defenses.base.DefenseContext`.
        trial: the round.
        client: the number of the client.
    """
    if not spec.defenses:
        return rounded(observation, spec.precision)
    noise = stream("defense", *client_keys(spec, trial, client), spec.victim_seed)
    generator = torch.Generator().manual_seed(int(noise.integers(2**63)))
    context = DefenseContext(generator, observation.model, chunks)
    sent = apply(observation, spec.defenses, scope=spec.defense_scope, context=context)
    return rounded(sent, spec.precision)
