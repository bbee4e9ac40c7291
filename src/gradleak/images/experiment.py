"""One image-reconstruction run: rounds of clients, from spec to images and rows."""

import math
import time
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from gradleak import datasets
from gradleak.datasets.base import ImageDataset
from gradleak.devices import choose_device
from gradleak.errors import InputError
from gradleak.federated import defended, draw_batch, given_batch, make_victim, stage_name
from gradleak.image_spec import FederatedOptions, ImageAttack, Reconstruct
from gradleak.images.client import Client, ClientRule
from gradleak.images.engine import Found, Matching, Problem, reconstruct
from gradleak.images.labels import known_labels
from gradleak.images.starts import start
from gradleak.metrics.images import align, feature_cosine, image_metrics
from gradleak.metrics.lpips import SMALLEST_SIDE, Lpips, load_lpips
from gradleak.models.base import Victim
from gradleak.models.pretrained import load_pretrained
from gradleak.observe import Observation
from gradleak.provenance import peak_memory_mb
from gradleak.records import JOB, VICTIM, Row
from gradleak.streams import stream
from gradleak.training import victim_quality


@dataclass(frozen=True)
class Batch:
    """One client's batch of a round, or all clients' when they are aggregated.

    Attributes:
        trial: the round.
        client: its number, or -1 for the aggregate.
        indices: [n] int64, which images of the data set they are.
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
class Reconstruction:
    """A batch and what was made of it; images in [0, 1], in the one order that all metrics use.

    Attributes:
        trial: the round.
        client: its number, or -1 for the aggregate.
        truth: [n, c, h, w].
        guess: [n, c, h, w].
        true_labels: [n] int64.
        labels: [n] int64.
        metrics: name -> [n].
        loss: matching loss of the start that was chosen; infinite if all diverged.
        trace: [iterations, R] matching losses of all starts.
        snapshots: iteration -> [n, c, h, w].
        diverged: starts whose loss ceased to be a number.
    """

    trial: int
    client: int
    truth: Tensor
    guess: Tensor
    true_labels: Tensor
    labels: Tensor
    metrics: dict[str, Tensor]
    loss: float
    trace: Tensor
    snapshots: dict[int, Tensor]
    diverged: int

    @property
    def failed(self) -> bool:
        """Whether every start diverged. An early interrupt leaves no loss either, and the start as it was."""
        return not math.isfinite(self.loss) and self.diverged == self.trace.shape[1]


@dataclass
class Result:
    """What a run gives.

    Attributes:
        reconstructions: one per client and round, then one per aggregate and round.
        rows: the long table.
        device: where it ran.
        interrupted: whether the user stopped it; everything is then the best so far.
    """

    reconstructions: list[Reconstruction] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    device: str = "cpu"
    interrupted: bool = False


@dataclass(frozen=True)
class Round:
    """What all attacks on a spec have in common.

    Attributes:
        data: the data set.
        server: the model that the server sent, on the device.
        client: simulates a client of that model.
        device: where it runs.
        lpips: the perceptual distance, if its weights are there and the images are large enough for it.
    """

    data: ImageDataset
    server: Victim
    client: Client
    device: torch.device
    lpips: Lpips | None = None

    def pixels(self, x: Tensor) -> Tensor:
        """What the model reads -> [0, 1], clamped."""
        mean, std = self.constants(x)
        return (x * std + mean).clamp(0, 1)

    def constants(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation of the normalisation, each [c, 1, 1]."""
        mean, std = (like.new_tensor(values)[:, None, None] for values in (self.data.facts.mean, self.data.facts.std))
        return mean, std


def prepare(spec: FederatedOptions) -> Round:
    """Load the data and make the victim.

    Raises:
        InputError: data missing, or weights that do not fit or cannot be fetched.
    """
    device = choose_device(spec.device)
    data = datasets.load(
        spec.dataset, split=spec.split, root=spec.data_root, download=spec.download, image_size=spec.image_size
    )
    model = make_victim(spec, data)
    if spec.pretrained:
        load_pretrained(model, spec.model)
    model = model.to(device)
    rule = ClientRule(local_steps=spec.local_steps, local_lr=spec.local_lr, bn_eval=spec.bn_eval)
    lpips = load_lpips(spec.lpips) if spec.lpips and data.facts.image_size >= SMALLEST_SIDE else None
    return Round(data, model, Client(model, rule), device, lpips)


def client_batches(spec: FederatedOptions, round_: Round) -> Iterator[list[Batch]]:
    """Draw the clients' batches, round by round, with what each client sends.

    Raises:
        InputError: the data cannot give the batches asked for.
    """
    C = round_.data.num_classes
    given = given_batch(spec.client_indices, round_.data) if spec.client_indices else None
    for trial in range(spec.num_tries):
        found = []
        for client in range(spec.num_clients):
            n = spec.num_images
            own = slice(client * n, (client + 1) * n)
            chosen = draw_batch(spec, round_.data, trial, client) if given is None else given[own]
            images, labels = round_.data.fetch(chosen), round_.data.labels[chosen]
            on_device = images.to(round_.device)
            sent = round_.client.send(on_device, one_hot(labels, C).to(on_device))
            gradients = dict(zip(round_.client.names, (g.detach() for g in sent), strict=True))
            observation = Observation(gradients, round_.server, n)
            chunks = partial(_whole, images, labels)
            seen = defended(spec, observation, chunks, trial, client)
            found.append(Batch(trial, client, chosen, on_device, labels, seen))
        yield found


def _whole(images: Tensor, labels: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    yield images, labels


def aggregate(spec: FederatedOptions, batches: list[Batch]) -> Batch:
    """Return the clients of a round as one batch, with the mean of what they sent, each scaled to norm 1 if so asked.

    Equal numbers of images make the mean of the clients' gradients the gradient of the joint batch. Scaled ones are no
    gradient of any batch; an objective that ignores the scale suits them.
    """
    names = list(batches[0].observation.gradients)
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
    model = batches[0].observation.model
    images = torch.cat([batch.images for batch in batches])
    indices = torch.cat([batch.indices for batch in batches])
    return Batch(batches[0].trial, -1, indices, images, labels, Observation(gradients, model, len(labels)))


def updated(server: Victim, gradients: dict[str, Tensor], lr: float) -> Victim:
    """Return a copy of the model after one step down the aggregated gradient."""
    model = deepcopy(server)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter -= lr * gradients[name]
    return model


Solver = Callable[[Problem], Found]
"""Solves all problems side by side."""

Start = Callable[[Batch, Tensor | None, np.random.Generator], Tensor]
"""Batch, its labels if they are known, stream of the start -> normalised images to begin with, [n, c, h, w]."""


def run(spec: Reconstruct) -> Result:
    """Reconstruct by gradient matching: every client of every round, their aggregate, or both.

    Raises:
        InputError: data missing, or a request that data or model cannot meet.
    """
    matching = Matching(
        objective=spec.cost_fn,
        indices=spec.indices,
        weights=spec.weights,
        optimizer=spec.rec_optimizer,
        lr=spec.step_size,
        schedule=spec.lr_schedule,
        iterations=spec.iterations,
        signed=spec.signed,
        boxed=spec.boxed,
        tv_weight=spec.tv_weight,
        l2_weight=spec.l2_weight,
        median=spec.median,
        loss_thresh=spec.loss_thresh,
        log_every=spec.log_every,
        at_once=spec.at_once,
    )
    round_ = prepare(spec)

    held: list[Tensor] = []
    if spec.init == "auxiliary":
        held = [batch.indices for clients in client_batches(spec, round_) for batch in clients]

    def begin(batch: Batch, labels: Tensor | None, rng: np.random.Generator) -> Tensor:
        others = partial(_others, round_.data, torch.cat([*held, batch.indices]), len(batch.labels), labels, rng)
        return start(spec.init, tuple(batch.images.shape), spec.init_scale, rng, others)

    return attack(spec, round_, partial(reconstruct, matching=matching, progress=spec.progress), begin)


def attack(spec: ImageAttack, round_: Round, solve: Solver, begin: Start) -> Result:
    """Attack every client of every round, their aggregate, or both, and compare with the truth.

    Args:
        spec: the clients, the labels, the modes.
        round_: what :func:`prepare` made of it.
        solve: the attack.
        begin: where it begins.

    Raises:
        InputError: a request that the data cannot meet.
    """
    began = time.perf_counter()
    result = Result(device=str(round_.device))
    rounds = list(client_batches(spec, round_))
    groups: list[list[Batch]] = []
    if spec.reconstruct_mode != "aggregated":
        groups.append([batch for batches in rounds for batch in batches])
    if spec.reconstruct_mode != "per-client":
        groups.append([aggregate(spec, batches) for batches in rounds])
    stage = stage_name(spec)
    for group in groups:
        for batches, client in _with_models(spec, round_, group, rounds):
            if result.interrupted:
                break
            start_of_group = time.perf_counter()
            found = solve(_problem(spec, round_, client, batches, begin))
            result.interrupted |= found.interrupted
            seconds = (time.perf_counter() - start_of_group) / len(batches)
            for number, batch in enumerate(batches):
                made = _compare(round_, batch, found, number)
                result.reconstructions.append(made)
                result.rows += _rows(spec, stage, made, seconds)
    row = partial(_row, spec, stage, spec.num_images, spec.distribution_id)
    result.rows += [row(VICTIM, -1, "", name, value) for name, value in victim_quality(spec).items()]
    whole = {"seconds": time.perf_counter() - began, "peak_memory_mb": peak_memory_mb()}
    result.rows += [row(JOB, -1, "", name, value) for name, value in whole.items()]
    return result


def _with_models(
    spec: ImageAttack, round_: Round, group: list[Batch], rounds: list[list[Batch]]
) -> Iterator[tuple[list[Batch], Client]]:
    """Yield batches that are attacked through one model: all, unless the server's step makes a model per round."""
    if not spec.apply_agg_step:
        yield group, round_.client
        return
    for batches in rounds:
        trial = batches[0].trial
        model = updated(round_.server, aggregate(spec, batches).observation.gradients, spec.agg_lr)
        yield [batch for batch in group if batch.trial == trial], Client(model, round_.client.rule)


def _problem(spec: ImageAttack, round_: Round, client: Client, batches: list[Batch], begin: Start) -> Problem:
    C, device = round_.data.num_classes, round_.device
    known = [known_labels(spec.labels, batch.observation, batch.labels) for batch in batches]
    fixed = None if spec.labels == "optimise" else torch.stack([one_hot(k, C).float() for k in known if k is not None])
    starts, logits = [], []
    for batch, labels in zip(batches, known, strict=True):
        streams = [_stream(spec, batch, restart) for restart in range(spec.restarts)]
        starts.append(torch.stack([begin(batch, labels, rng) for rng in streams]))
        drawn = [rng.standard_normal((len(batch.labels), C)) for rng in streams]
        logits.append(torch.stack([torch.from_numpy(values).float() for values in drawn]))
    x = torch.stack(starts).to(device)
    mean, std = round_.constants(x)
    observed = tuple(torch.stack([batch.observation.gradients[name] for batch in batches]) for name in client.names)
    return Problem(
        client=client,
        observed=observed,
        start=x,
        targets=None if fixed is None else fixed.to(device),
        label_start=torch.stack(logits).to(device),
        low=(0 - mean) / std,
        high=(1 - mean) / std,
    )


def _stream(spec: ImageAttack, batch: Batch, restart: int) -> np.random.Generator:
    """Return the random stream of one start: other starts, clients and rounds have streams of their own."""
    seed = spec.seed if spec.dummy_seed is None else spec.dummy_seed
    return stream("attack", seed, batch.trial, batch.client, restart)


def _others(data: ImageDataset, held: Tensor, number: int, labels: Tensor | None, rng: np.random.Generator) -> Tensor:
    """Return images to begin with that the clients do not hold, of the known labels if they are known.

    Raises:
        InputError: a label of which the data set has hardly any image.
    """
    free = torch.ones(len(data), dtype=torch.bool)
    free[held] = False
    pools = [(free if labels is None else free & (data.labels == labels[i])).nonzero()[:, 0] for i in range(number)]
    if any(len(pool) == 0 for pool in pools):
        raise InputError("--init auxiliary: the data set has no other image of a restored label; use another init")
    return data.fetch(torch.stack([pool[int(rng.integers(len(pool)))] for pool in pools]))


def _compare(round_: Round, batch: Batch, found: Found, number: int) -> Reconstruction:
    """Put guess beside truth, in one order for all metrics."""
    truth, guess = round_.pixels(batch.images.cpu()), round_.pixels(found.images[number].cpu())
    order = align(truth, guess)
    guess, labels = guess[order], found.labels[number].cpu()[order]
    metrics = dict(image_metrics(truth, guess))
    metrics["feature_cosine"] = feature_cosine(round_.server, truth, guess, round_.data.normalise)
    if round_.lpips is not None:
        metrics["lpips"] = round_.lpips(truth, guess)
    metrics["label_accuracy"] = (labels == batch.labels).double()
    return Reconstruction(
        trial=batch.trial,
        client=batch.client,
        truth=truth,
        guess=guess,
        true_labels=batch.labels,
        labels=labels,
        metrics=metrics,
        loss=float(found.loss[number]),
        trace=found.trace[:, number],
        snapshots={at: round_.pixels(shown[number])[order] for at, shown in found.snapshots.items()},
        diverged=int(found.diverged[number].sum()),
    )


def _rows(spec: ImageAttack, stage: str, made: Reconstruction, seconds: float) -> list[Row]:
    """Rows of one batch: a unit per image, and figures of the batch with an empty unit."""
    aggregated = made.client < 0
    distribution = f"{spec.distribution_id}@{spec.num_clients}clients" if aggregated else spec.distribution_id
    status = "diverged" if made.failed else "ok"
    row = partial(_row, spec, stage, len(made.truth), distribution, spec.attack, made.trial, status=status)
    who = "" if aggregated else f"client{made.client}"
    rows = [
        row(f"{who}image{image}", name, float(value) if status == "ok" else float("nan"))
        for name, values in made.metrics.items()
        for image, value in enumerate(values)
    ]
    whole = {"seconds": seconds, "matching_loss": made.loss, "diverged_restarts": float(made.diverged)}
    for at, shown in made.snapshots.items():
        whole[f"psnr_at_{at}"] = float(image_metrics(made.truth, shown)["psnr"].mean())
    return rows + [row(who, name, value) for name, value in whole.items()]


def _row(
    spec: FederatedOptions,
    stage: str,
    batch_size: int,
    distribution: str,
    method: str,
    trial: int,
    unit: str,
    metric: str,
    value: float,
    *,
    status: str = "ok",
) -> Row:
    return Row(
        run=spec.run_id,
        kind=spec.KIND,
        method=method,
        dataset=spec.dataset,
        model=spec.model_id,
        stage=stage,
        batch_size=batch_size,
        distribution=distribution,
        defense=spec.defense_id,
        model_seed=spec.victim_seed,
        seed=spec.seed,
        trial=trial,
        unit=unit,
        status=status,
        metric=metric,
        value=value,
    )
