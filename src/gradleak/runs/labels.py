"""One label-restoration run: the tries of one victim, from spec to rows."""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor
from tqdm import tqdm

from gradleak.attacks.labels.base import LabelGuess, build
from gradleak.clients.client import Client
from gradleak.clients.observation import (
    HEAD,
    BatchTruth,
    Observation,
    SideKnowledge,
    observe_full,
    observe_head,
)
from gradleak.clients.round_inputs import as_sent, draw_batch, in_own_order, make_victim
from gradleak.clients.rounds import make_client, observe_client
from gradleak.data import datasets
from gradleak.data.base import ImageDataset
from gradleak.devices import choose_device
from gradleak.errors import InputError
from gradleak.metrics import analysis, named
from gradleak.metrics.labels import floors, label_metrics, metric_names
from gradleak.notes import note
from gradleak.plan import catalogue
from gradleak.plan.catalogue.facts import MethodFacts
from gradleak.plan.distributions import CUSTOM, CUSTOM_CLASSES
from gradleak.plan.jobs.labels import RestoreLabels
from gradleak.plan.methods import method_parts
from gradleak.provenance import peak_memory_mb
from gradleak.records import JOB, NOT_APPLICABLE, OK, VICTIM, Row
from gradleak.runs.rows import row
from gradleak.victims.chunks import chunk_size
from gradleak.victims.models.base import Victim
from gradleak.victims.training import victim_quality


@dataclass(frozen=True)
class Result:
    """Result of a run.

    Attributes:
        rows: the long table.
        methods: the methods that ran, in the given order.
        device: where the forward passes ran.
    """

    rows: list[Row]
    methods: tuple[str, ...]
    device: str


def restore(spec: RestoreLabels) -> Result:
    """Attack ``spec.num_tries`` batches of one victim with every method of the spec.

    All methods see the same observation in a try. A method that needs a gradient which the client does not send gets
    rows of status ``not applicable``, and one line on standard error says so. Memory does not depend on the batch size,
    because images are fetched and passed through the model chunk by chunk; only a defense of all gradients, batch
    statistics and a client that takes several steps need the whole batch at once.

    Raises:
        InputError: missing data, or options that the data cannot satisfy.
    """
    started = time.perf_counter()
    device = choose_device(spec.device, share=True)
    data = datasets.load(spec.dataset, split=spec.split, root=spec.data_root, download=spec.download)
    if spec.num_classes not in (None, data.num_classes):
        raise InputError(f"--num-classes {spec.num_classes}: {spec.dataset} has {data.num_classes} classes")
    model = make_victim(spec, data).to(device)
    # A single step in eval mode has a closed form; anything else is simulated.
    trains = make_client(spec, data, model, device) if spec.takes_steps or not spec.bn_eval else None
    methods = {name: build(name) for name in spec.methods}
    facts = {name: catalogue.find("attacks", method_parts(name)[0]) for name in spec.methods}
    baselines = floors(spec.batch_size, data.num_classes)
    rows: list[Row] = []
    setting = spec.setting()

    def add(method: str, trial: int, metrics: dict[str, float], status: str = OK) -> None:
        more = {"client": min(trial, 0), "status": status}  # the only client, unless the value is of the whole run
        rows.extend(row(spec, setting, method, trial, name, value, **more) for name, value in metrics.items())

    for trial in tqdm(range(spec.num_tries), desc="tries", unit="batch", disable=not spec.progress, dynamic_ncols=True):
        client = _Client(spec, data, model, trains, device, trial)
        sent, truth = client.observe()
        finite = sent.is_finite()
        for name, method in methods.items():
            lacking = sent.lacks(facts[name].needs)
            if lacking:
                note(f"{name} is not applicable: the client sends no gradient of {' and '.join(lacking)}")
            if lacking or not finite:
                unknown = dict.fromkeys(_metrics_of(spec, facts[name]), math.nan)
                add(name, trial, unknown, status=NOT_APPLICABLE if lacking else "diverged")
                continue
            observation = _tell(sent, facts[name], truth.counts)
            begin = time.perf_counter()
            guess = method(observation)
            measured = {"seconds": time.perf_counter() - begin, **label_metrics(guess, truth, head=model.head)}
            if spec.analysis and guess.embeddings is not None and not sent.lacks(HEAD):
                measured |= analysis.analyse(observation, guess, truth, model.head)
            measured |= _restored_instances(spec, guess) | named.of_labels(spec.metrics, guess, truth)
            add(name, trial, measured)
        for name, guess in baselines.items() if finite else ():
            add(name, trial, label_metrics(guess, truth) | named.of_labels(spec.metrics, guess, truth))
    whole = {"seconds": time.perf_counter() - started, "peak_memory_mb": peak_memory_mb()}
    add(VICTIM, -1, victim_quality(spec))
    add(JOB, -1, whole)
    return Result(rows, spec.methods, str(device))


@dataclass(frozen=True)
class _Client:
    """The client of one try: its batch, and what it sends."""

    spec: RestoreLabels
    data: ImageDataset
    model: Victim
    trains: Client | None
    device: torch.device
    trial: int

    @cached_property
    def indices(self) -> Tensor:
        """[B] int64, the images of the batch."""
        return in_own_order(self.spec, draw_batch(self.spec, self.data, self.trial), self.trial)

    def chunks(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Fetch the batch chunk by chunk, so that memory does not depend on its size."""
        size = self.spec.chunk_size or chunk_size(self.data.facts.image_size)
        for part in torch.split(self.indices, size):
            yield self.data.fetch(part), self.data.labels[part]

    def observe(self) -> tuple[Observation, BatchTruth]:
        """Return what the server gets, defended as the spec says, and the truth about the batch."""
        spec = self.spec
        observation, truth = observe_head(self.model, self.chunks(), device=self.device)
        defends_all = bool(spec.defenses) and spec.defense_scope == "all"
        if self.trains is not None or defends_all or spec.sees_all:
            images = self.data.fetch(self.indices).to(self.device)
            labels = self.data.labels[self.indices].to(self.device)
            whole = self._observe_all(images, labels)
            # If the closed form suffices, what methods of the last layer see does not depend on other methods.
            last = {} if self.trains is not None or defends_all else observation.gradients
            observation = replace(whole, gradients={**whole.gradients, **last})
        return as_sent(spec, observation, self.chunks, self.trial), truth

    def _observe_all(self, images: Tensor, labels: Tensor) -> Observation:
        if self.trains is None:
            return observe_full(self.model, images, labels)
        return observe_client(self.trains, self.model, images, labels, self.data.num_classes)


def _tell(observation: Observation, method: MethodFacts, counts: Tensor) -> Observation:
    """Grant the side knowledge that a method declares."""
    return replace(observation, side=SideKnowledge(counts > 0)) if "present_classes" in method.side else observation


def _metrics_of(spec: RestoreLabels, method: MethodFacts) -> list[str]:
    """Return the metrics that a method has in this run wherever it runs, except its time."""
    gives = method.gives
    names = dict.fromkeys(metric_names(gives))
    if spec.analysis and "embeddings" in gives:
        names |= dict.fromkeys(analysis.METRICS)
    if spec.distribution in CUSTOM and "counts" in gives:
        names |= dict.fromkeys(f"restored_class_{c}" for c in CUSTOM_CLASSES)
    return [*names, *spec.metrics]


def _restored_instances(spec: RestoreLabels, guess: LabelGuess) -> dict[str, float]:
    """Return the restored counts of the three classes of the custom distributions, for the extreme-batch table."""
    if spec.distribution not in CUSTOM or guess.counts is None:
        return {}
    return {f"restored_class_{c}": float(guess.counts[c]) for c in CUSTOM_CLASSES}
