"""One image-reconstruction run, from spec to images and rows."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from gradleak.attacks.images import objectives
from gradleak.attacks.images.curvature import note_kinks
from gradleak.attacks.images.engine import Matching, reconstruct
from gradleak.attacks.images.label_policy import known_labels
from gradleak.attacks.images.problem import Found, Problem
from gradleak.attacks.images.starts import start
from gradleak.clients.client import Client
from gradleak.clients.round_inputs import client_images
from gradleak.clients.rounds import Batch, Round, aggregate, client_batches, prepare, updated
from gradleak.data.base import ImageDataset
from gradleak.errors import InputError
from gradleak.metrics.lpips import load_lpips
from gradleak.plan import catalogue
from gradleak.plan.jobs.images import ImageAttack, Reconstruct
from gradleak.provenance import peak_memory_mb
from gradleak.records import JOB, VICTIM, Row
from gradleak.runs.applicable import alike, is_applicable, not_applicable
from gradleak.runs.image_results import Reconstruction, compare, rows_of
from gradleak.runs.rows import row
from gradleak.streams import stream
from gradleak.victims.training import victim_quality


@dataclass
class Result:
    """Result of a run.

    Attributes:
        reconstructions: one per client and round, then one per aggregate and round.
        rows: the long table.
        device: where it ran.
        interrupted: whether the user stopped it; the results are then the best so far.
    """

    reconstructions: list[Reconstruction] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    device: str = "cpu"
    interrupted: bool = False


Solver = Callable[[Problem], Found]
"""Solves all problems side by side."""

Start = Callable[[Batch, Tensor | None, np.random.Generator], Tensor]
"""Batch, its labels if known, stream of the start -> normalised initial images [n, c, h, w]."""


def run(spec: Reconstruct) -> Result:
    """Reconstruct by gradient matching: every client of every round, their aggregate, or both.

    Raises:
        InputError: missing data, or options that data or model cannot satisfy.
    """
    if spec.method == "consistency":
        return invert(spec)
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
    note_kinks(round_, spec.rec_optimizer)

    held = torch.cat([images for clients in client_images(spec, round_.data) for images in clients])

    def begin(batch: Batch, labels: Tensor | None, rng: np.random.Generator) -> Tensor:
        others = partial(_others, round_.data, held, len(batch.labels), labels, rng)
        return start(spec.init, tuple(batch.images.shape), spec.init_scale, rng, others)

    return attack(spec, round_, partial(reconstruct, matching=matching, progress=spec.progress), begin)


def invert(spec: Reconstruct) -> Result:
    """Reconstruct by exact inversion of the linear layers' gradients.

    Raises:
        InputError: missing data, or a model whose last layer is not linear.
    """
    round_ = prepare(spec)

    def begin(batch: Batch, labels: Tensor | None, rng: np.random.Generator) -> Tensor:
        return torch.zeros_like(batch.images)

    solve = partial(
        catalogue.load_images(spec.method),
        objective=objectives.build(spec.cost_fn, indices=spec.indices, weights=spec.weights),
        at_once=spec.at_once,
        progress=spec.progress,
    )
    return attack(spec, round_, solve, begin)


def attack(
    spec: ImageAttack,
    round_: Round,
    solve: Solver,
    begin: Start,
    *,
    see: Callable[[Client, Batch], Batch] | None = None,
) -> Result:
    """Attack every client of every round, their aggregate, or both, and compare with the truth.

    Args:
        spec: the clients, the labels, the modes.
        round_: the result of :func:`prepare`.
        solve: the attack.
        begin: returns the initial images.
        see: returns a batch as the attack sees it; controls see no client's gradient.

    Raises:
        InputError: options that the data cannot satisfy.
    """
    began = time.perf_counter()
    result = Result(device=str(round_.device))
    lpips = load_lpips(spec.lpips_weights) if spec.lpips_weights else None
    rounds = list(client_batches(spec, round_))
    groups: list[list[Batch]] = []
    if spec.reconstruct_mode != "aggregated":
        groups.append([batch for batches in rounds for batch in batches])
    if spec.reconstruct_mode != "per-client":
        groups.append([aggregate(spec, batches) for batches in rounds])
    setting = spec.setting()
    for group in groups:
        possible = []
        for batch in group:
            if is_applicable(spec, batch):
                possible.append(batch)
                continue
            made, rows = not_applicable(spec, setting, round_, batch)
            result.reconstructions.append(made)
            result.rows += rows
        for batches, client in _with_models(spec, round_, possible, rounds):
            if result.interrupted:
                break
            start_of_group = time.perf_counter()
            shown = batches if see is None else [see(client, batch) for batch in batches]
            solved = solve(_problem(spec, round_, client, shown, begin))
            result.interrupted |= solved.interrupted
            seconds = (time.perf_counter() - start_of_group) / len(batches)
            for number, batch in enumerate(batches):
                made = compare(round_, batch, solved, number, lpips, spec.metrics)
                result.reconstructions.append(made)
                result.rows += rows_of(spec, setting, made, seconds)
    whole = {"seconds": time.perf_counter() - began, "peak_memory_mb": peak_memory_mb()}
    for who, values in ((VICTIM, victim_quality(spec)), (JOB, whole)):
        result.rows += [row(spec, setting, who, -1, name, value) for name, value in values.items()]
    return result


def _with_models(
    spec: ImageAttack, round_: Round, group: list[Batch], rounds: list[list[Batch]]
) -> Iterator[tuple[list[Batch], Client]]:
    """Group batches to attack together: with the same gradients and, if the server takes a step, of one round."""
    if not spec.apply_agg_step:
        yield from alike(group, round_.client)
        return
    for batches in rounds:
        trial = batches[0].trial
        model = updated(round_.server, aggregate(spec, batches).observation.gradients, spec.agg_lr)
        client = Client(model, round_.client.training, round_.client.names)
        yield from alike([batch for batch in group if batch.trial == trial], client)


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
        precision=batches[0].observation.precision,
    )


def _stream(spec: ImageAttack, batch: Batch, restart: int) -> np.random.Generator:
    """Return the random stream of one start; each start, client and round has its own."""
    seed = spec.seed if spec.dummy_seed is None else spec.dummy_seed
    return stream("attack", seed, batch.trial, batch.client, restart)


def _others(data: ImageDataset, held: Tensor, number: int, labels: Tensor | None, rng: np.random.Generator) -> Tensor:
    """Return initial images that no client holds, of the known labels if there are any.

    Raises:
        InputError: the data set has too few images of a label.
    """
    free = torch.ones(len(data), dtype=torch.bool)
    free[held] = False
    pools = [(free if labels is None else free & (data.labels == labels[i])).nonzero()[:, 0] for i in range(number)]
    if any(len(pool) == 0 for pool in pools):
        raise InputError("--init auxiliary: the data set has no other image of a restored label; use another init")
    return data.fetch(torch.stack([pool[int(rng.integers(len(pool)))] for pool in pools]))
