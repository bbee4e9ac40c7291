"""A batch and its reconstruction: one assignment, metrics, rows."""

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
    """A batch and its reconstruction; images in [0, 1], in the one order that all metrics use.

    Attributes:
        trial: the round.
        client: its number, or -1 for the aggregate.
        truth: [n, c, h, w].
        guess: [n, c, h, w].
        true_labels: [n] int64.
        labels: [n] int64.
        metrics: name -> [n].
        loss: matching loss of the chosen start; infinite if all diverged.
        trace: [iterations, R] matching losses of all starts.
        snapshots: iteration -> [n, c, h, w].
        diverged: number of starts whose loss became infinite or NaN.
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
        """See :class:`gradleak.records.Row`: ``diverged`` if every start did; not applicable if there was no start.

        An early interrupt leaves no loss either, and the initial images.
        """
        starts = self.trace.shape[1]
        if not starts:
            return NOT_APPLICABLE
        return "diverged" if not math.isfinite(self.loss) and self.diverged == starts else OK


def compare(
    round_: Round, batch: Batch, result: Found, number: int, lpips: Lpips | None, metrics_named: Sequence[str] = ()
) -> Reconstruction:
    """Compare a reconstruction with the truth, in one order for all metrics.

    Args:
        round_: the round of the batch.
        batch: the batch with the truth.
        result: the result of a solver for several batches.
        number: the index of this batch among them.
        lpips: the perceptual distance, if its weights are given and the images are large enough.
        metrics_named: metrics that the run's options name.
    """
    truth, guess = round_.pixels(batch.images.cpu()), round_.pixels(result.images[number].cpu())
    certified = None if result.certified is None else result.certified[number].cpu()
    order = align(truth, guess, certified)
    guess, labels = guess[order], result.labels[number].cpu()[order]
    metrics = dict(image_metrics(truth, guess))
    metrics["feature_cosine"] = feature_cosine(round_.server, truth, guess, round_.data.normalise)
    if lpips is not None:
        metrics["lpips"] = lpips(truth, guess)
    metrics["label_accuracy"] = (labels == batch.labels).double()
    if certified is not None:
        metrics["relative_error"] = relative_error(batch.images.cpu(), result.images[number].cpu()[order])
        metrics["certified"] = certified.double()[order]
        predicted = predicted_psnr(batch.observation, batch.images, round_.constants(batch.images)[1])
        metrics |= {} if predicted is None else {"predicted_psnr": predicted}
    inputs = None
    if result.inputs is not None:  # inputs of the first linear layer have an order of their own
        inputs = result.inputs[number].cpu()
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
        loss=float(result.loss[number]),
        trace=result.trace[:, number],
        snapshots={at: round_.pixels(shown[number])[order] for at, shown in result.snapshots.items()},
        diverged=int(result.diverged[number].sum()),
        inputs=inputs,
    )


def rows_of(spec: ImageAttack, setting: Setting, made: Reconstruction, seconds: float) -> list[Row]:
    """Return the rows of one batch: values of each image, of the batch, and of its snapshots.

    Args:
        spec: the run.
        setting: the setting of a single client; aggregates have one of their own.
        made: the batch and its reconstruction.
        seconds: its wall time.
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
            if (
                made.status != OK or name not in spec.metrics or not value.isnan()
            ):  # NaN: the metric does not apply to this image
                add(name, float(value) if made.status == OK else math.nan, image)
    add("seconds", seconds)
    add("matching_loss", made.loss)
    add("diverged_restarts", float(made.diverged))
    for iteration, shown in made.snapshots.items():
        add(SNAPSHOT, float(image_metrics(made.truth, shown)["psnr"].mean()), iteration=iteration)
    return rows
