"""A batch and what an attack made of it: one assignment, metrics, rows."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from gradleak.attacks.images.problem import Found
from gradleak.clients.rounds import Batch, Round
from gradleak.metrics.images import (
    align,
    feature_cosine,
    first_inputs,
    image_metrics,
    nearest_error,
    relative_error,
)
from gradleak.metrics.lpips import Lpips
from gradleak.metrics.named import of_images
from gradleak.metrics.precision_law import predicted_psnr
from gradleak.plan.jobs.images import ImageAttack
from gradleak.plan.metric_facts import SNAPSHOT
from gradleak.records import NOT_APPLICABLE, OK, Row, Setting
from gradleak.runs.rows import row


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
        inputs: [k, d], what the first linear layer reads of the instances that were found, if these are no images.
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
    inputs: Tensor | None = None

    @property
    def status(self) -> str:
        """See :class:`gradleak.records.Row`: ``diverged`` if every start did; not applicable if there was none.

        An early interrupt leaves no loss either, and the start as it was.
        """
        starts = self.trace.shape[1]
        if not starts:
            return NOT_APPLICABLE
        return "diverged" if not math.isfinite(self.loss) and self.diverged == starts else OK


def compare(
    round_: Round, batch: Batch, found: Found, number: int, lpips: Lpips | None, metrics_named: Sequence[str] = ()
) -> Reconstruction:
    """Put what was found for a batch beside the truth, in one order for all metrics.

    Args:
        round_: where the batch is from.
        batch: the truth.
        found: what a solver gave for several batches.
        number: which of them this is.
        lpips: the perceptual distance, if its weights are there and the images are large enough for it.
        metrics_named: metrics that the run's options name.
    """
    truth, guess = round_.pixels(batch.images.cpu()), round_.pixels(found.images[number].cpu())
    certified = None if found.certified is None else found.certified[number].cpu()
    order = align(truth, guess, certified)
    guess, labels = guess[order], found.labels[number].cpu()[order]
    metrics = dict(image_metrics(truth, guess))
    metrics["feature_cosine"] = feature_cosine(round_.server, truth, guess, round_.data.normalise)
    if lpips is not None:
        metrics["lpips"] = lpips(truth, guess)
    metrics["label_accuracy"] = (labels == batch.labels).double()
    if certified is not None:
        metrics["relative_error"] = relative_error(batch.images.cpu(), found.images[number].cpu()[order])
        metrics["certified"] = certified.double()[order]
        predicted = predicted_psnr(batch.observation, batch.images, round_.constants(batch.images)[1])
        metrics |= {} if predicted is None else {"predicted_psnr": predicted}
    inputs = None
    if found.inputs is not None:  # what the first linear layer reads has an order of its own
        inputs = found.inputs[number].cpu()
        metrics["input_error"] = nearest_error(first_inputs(round_.server, batch.images), inputs)
    metrics |= of_images(metrics_named, truth, guess)
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
        inputs=inputs,
    )


def rows_of(spec: ImageAttack, setting: Setting, made: Reconstruction, seconds: float) -> list[Row]:
    """Return the rows of one batch: figures of each image, of the batch, and of its snapshots.

    Args:
        spec: the run.
        setting: of a client by itself; an aggregate is one of its own.
        made: the batch.
        seconds: that it took.
    """
    if made.client < 0:
        setting = replace(setting, batch_size=len(made.truth), aggregated=spec.num_clients)
    rows: list[Row] = []

    def add(metric: str, value: float, image: int = -1, iteration: int = -1) -> None:
        value = math.nan if made.status == NOT_APPLICABLE else value
        place = {"client": made.client, "image": image, "iteration": iteration, "status": made.status}
        rows.append(row(spec, setting, spec.attack, made.trial, metric, value, **place))

    for name, values in made.metrics.items():
        for image, value in enumerate(values):
            if made.status != OK or name not in spec.metrics or not value.isnan():  # NaN: nothing is said of this image
                add(name, float(value) if made.status == OK else math.nan, image)
    add("seconds", seconds)
    add("matching_loss", made.loss)
    add("diverged_restarts", float(made.diverged))
    for iteration, shown in made.snapshots.items():
        add(SNAPSHOT, float(image_metrics(made.truth, shown)["psnr"].mean()), iteration=iteration)
    return rows
