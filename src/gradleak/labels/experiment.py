"""One label-restoration run: the tries of one victim, from spec to rows."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from tqdm import tqdm

from gradleak import batches, datasets
from gradleak.datasets.base import ImageDataset
from gradleak.devices import choose_device
from gradleak.errors import InputError
from gradleak.labels.all import build
from gradleak.labels.base import LabelGuess
from gradleak.metrics.labels import floors, label_metrics
from gradleak.models.base import Victim
from gradleak.models.build import build as build_model
from gradleak.observe import Observation, SideKnowledge, chunk_size, observe_head
from gradleak.provenance import peak_memory_mb
from gradleak.records import Row
from gradleak.spec import RestoreLabels
from gradleak.streams import stream


@dataclass(frozen=True)
class Result:
    """What a run gives.

    Attributes:
        rows: the long table.
        methods: the methods that ran, in the order asked for.
        device: where the forward passes ran.
    """

    rows: list[Row]
    methods: tuple[str, ...]
    device: str


def restore(spec: RestoreLabels) -> Result:
    """Attack ``spec.num_tries`` batches of one victim with every method of the spec.

    All methods of a try see the same observation. Memory does not depend on the batch size: images are fetched and
    passed through the model chunk by chunk.

    Raises:
        InputError: data missing, or a request that the data cannot meet.
    """
    started = time.perf_counter()
    device = choose_device(spec.device)
    data = datasets.load(spec.dataset, split=spec.split, root=spec.data_root, download=spec.download)
    if spec.num_classes not in (None, data.num_classes):
        raise InputError(f"--num-classes {spec.num_classes}: {spec.dataset} has {data.num_classes} classes")
    model = _victim(spec, data).to(device)
    methods = {name: build(name, alpha=spec.alpha) for name in spec.methods}
    baselines = floors(spec.num_images, data.num_classes)
    rows: list[Row] = []
    for trial in tqdm(range(spec.num_tries), desc="tries", unit="batch", disable=not spec.progress, dynamic_ncols=True):
        indices = batches.select(
            data.labels,
            data.num_classes,
            spec.distribution,
            spec.num_images,
            stream("batch", spec.dataset, spec.distribution_id, spec.num_images, spec.seed, trial),
            num_uniform_cls=spec.num_uniform_cls or 0,
            num_target_cls=spec.num_target_cls or 0,
        )
        size = spec.chunk_size or chunk_size(data.facts.image_size)
        observation, truth = observe_head(model, _chunks(data, indices, size), device=device)
        observation = _tell(observation, spec, truth.counts)
        for name, method in methods.items():
            begin = time.perf_counter()
            guess: LabelGuess = method(observation)
            seconds = time.perf_counter() - begin
            found = {**label_metrics(guess, truth, head=model.head), "seconds": seconds}
            rows += _rows(spec, name, trial, found)
        for name, guess in baselines.items():
            rows += _rows(spec, name, trial, label_metrics(guess, truth))
    whole = {"seconds": time.perf_counter() - started, "peak_memory_mb": peak_memory_mb()}
    rows += _rows(spec, "job", -1, whole)
    return Result(rows, spec.methods, str(device))


def _victim(spec: RestoreLabels, data: ImageDataset) -> Victim:
    return build_model(
        spec.model,
        num_classes=data.num_classes,
        channels=data.facts.channels,
        image_size=data.facts.image_size,
        seed=spec.victim_seed,
        **spec.model_options(),
    )


def _chunks(data: ImageDataset, indices: Tensor, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    for part in torch.split(indices, size):
        yield data.fetch(part), data.labels[part]


def _tell(observation: Observation, spec: RestoreLabels, counts: Tensor) -> Observation:
    """Grant the side knowledge that the spec's methods are defined with: only simplified iLRG has any."""
    if "ilrg-simplified" not in spec.methods:
        return observation
    return Observation(observation.gradients, observation.model, observation.batch_size, SideKnowledge(counts > 0))


def _rows(spec: RestoreLabels, method: str, trial: int, metrics: dict[str, float]) -> list[Row]:
    return [
        Row(
            run=spec.run_id,
            kind=spec.KIND,
            method=method,
            dataset=spec.dataset,
            model=spec.model_id,
            stage="untrained",
            batch_size=spec.num_images,
            distribution=spec.distribution_id,
            defense="none",
            model_seed=spec.victim_seed,
            seed=spec.seed,
            trial=trial,
            unit="",
            status="ok",
            metric=name,
            value=value,
        )
        for name, value in metrics.items()
    ]
