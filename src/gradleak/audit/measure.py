"""Comparison of an audit's results with the true batch, where the user has it."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.modules.dropout import _DropoutNd

from gradleak.attacks.exact.inversion import COUNTS
from gradleak.attacks.labels.guess import LabelGuess
from gradleak.audit.exact import Exact
from gradleak.audit.findings import Certified
from gradleak.audit.truth import Truth
from gradleak.clients.client import use_batch_statistics
from gradleak.clients.observation import BatchTruth
from gradleak.metrics.images import align, image_metrics, nearest_error
from gradleak.metrics.labels import floors, label_metrics
from gradleak.victims.recording import linear_inputs

_VALID = (-0.01, 1.01)
"""Range of pixels up to rounding."""


@dataclass(frozen=True)
class Pixels:
    """How inputs of the model become pixels in [0, 1].

    Attributes:
        mean: of each channel.
        std: of each channel; empty if the inputs are pixels already, or it is not known.
    """

    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    def __call__(self, inputs: Tensor) -> Tensor:
        """Return pixels of inputs [n, c, h, w]; not clamped."""
        if not self.std:
            return inputs
        mean, std = (torch.tensor(each, dtype=inputs.dtype).reshape(-1, 1, 1) for each in (self.mean, self.std))
        return inputs * std + mean


def of_guess(guess: LabelGuess, counts: Tensor) -> dict[str, float]:
    """Compare restored labels with the true counts [C], see :func:`gradleak.metrics.labels.label_metrics`."""
    return label_metrics(replace(guess, embeddings=None, probabilities=None), _truth(counts))


def label_floors(counts: Tensor) -> dict[str, float]:
    """Return the scores of guesses that use no gradient."""
    truth = _truth(counts)
    return {
        f"{name}_{metric}": value
        for name, guess in floors(int(counts.sum()), len(counts)).items()
        for metric, value in label_metrics(guess, truth).items()
        if metric in ("leacc", "irec")
    }


def _truth(counts: Tensor) -> BatchTruth:
    none = torch.zeros(len(counts), 0)
    return BatchTruth(counts, none, none, none)


def of_certificates(
    found: Exact, certified: Sequence[Certified], inputs: Tensor, truth: Truth, counts: Tensor
) -> dict[str, float]:
    """Count false certificates: labels beyond the true counts; inputs that are those of no image of the batch.

    What a layer reads is that of a model whose BatchNorm uses running statistics or those of the batch, whichever is
    closer. Behind dropout, and where a certified input is a mixture of several, there is nothing to compare with.

    Args:
        found: by exact inversion.
        certified: its certified inputs.
        inputs: [k, d], these.
        truth: the batch.
        counts: [C], of its labels.
    """
    values = {"falsely_certified_labels": float((found.certified_labels - counts).clamp(min=0).sum())}
    single = torch.tensor([each.mixture == 1 for each in certified], dtype=torch.bool)
    chain = found.seen.chain
    dropped = any(isinstance(m, _DropoutNd) and m.p for m in chain.model.modules()) and not found.seen.shows_images
    if truth.images is None or dropped or not bool(single.any()):
        return values
    batch_statistics = copy.deepcopy(chain.model)
    use_batch_statistics(batch_statistics)
    images = truth.images.to(next(chain.model.parameters()))
    errors = []
    for model in (chain.model, batch_statistics):
        with torch.no_grad():
            (read,) = linear_inputs(model, [chain.layers[found.seen.first].weight], images)
        errors.append(nearest_error(inputs.cpu(), read.double().cpu()))
    error = torch.minimum(*errors)[single]
    return values | {
        "falsely_certified_images": float((error > COUNTS).sum()),
        "certified_input_error": float(error.max()),
    }


def psnr_of_certified(images: Tensor, truth: Tensor, pixels: Pixels) -> list[float] | None:
    """Return the PSNR in dB of each image [k, c, h, w] against the nearest true one [B, c, h, w]; None if unknown."""
    true = _comparable(truth, pixels)
    if true is None or not len(images):
        return None
    guess = pixels(images.float())
    nearest = torch.cdist(guess.flatten(1), true.flatten(1)).argmin(1)
    return image_metrics(true[nearest], guess)["psnr"].tolist()


def of_images(images: Tensor, truth: Tensor, pixels: Pixels) -> dict[str, float]:
    """Compare a reconstruction of the batch with the truth, both [B, c, h, w], in the best order.

    Beside the PSNR stands that of the mean image, which needs no gradient.
    """
    true = _comparable(truth, pixels)
    if true is None or true.shape != images.shape:
        return {}
    guess = pixels(images.float())
    psnr = image_metrics(true, guess[align(true, guess)])["psnr"]
    blank = image_metrics(true, true.mean(0, keepdim=True).expand_as(true))["psnr"]
    return {
        "psnr": float(psnr.mean()),
        "psnr_best": float(psnr.max()),
        "psnr_worst": float(psnr.min()),
        "floor_psnr": float(blank.mean()),
    }


def _comparable(truth: Tensor, pixels: Pixels) -> Tensor | None:
    """Return true pixels, or None if these are no images or their normalisation is not known."""
    if truth.ndim != 4:
        return None
    true = pixels(truth.float())
    return true if _VALID[0] <= float(true.min()) and float(true.max()) <= _VALID[1] else None
