"""Quality of a label guess, and the score of guesses without any attack."""

from collections.abc import Collection

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, linear

from gradleak.attacks.labels.base import LabelGuess
from gradleak.attacks.labels.rounding import largest_remainder
from gradleak.clients.observation import BatchTruth
from gradleak.victims.head import Head

_OF = {
    "presence": ("leacc", "f1"),
    "counts": ("lnacc", "irec", "count_l1", "exact_match"),
    "certified": ("certified", "falsely_certified"),
    "embeddings": ("embedding_cosine", "output_cosine"),
    "probabilities": ("probability_cosine",),
}
"""Field of a guess -> its metrics."""


def metric_names(gives: Collection[str]) -> tuple[str, ...]:
    """Return the metrics of guesses with some fields besides presence, given the head."""
    return tuple(name for field, names in _OF.items() if field == "presence" or field in gives for name in names)


def label_metrics(guess: LabelGuess, truth: BatchTruth, *, head: nn.Linear | Head | None = None) -> dict[str, float]:
    """Compare a guess with the truth (Ma et al., ICLR 2023, and further metrics that do not reward blank guesses).

    Always:

    - ``leacc``: mean over the C classes of [presence restored correctly].
    - ``f1``: harmonic mean of precision and recall of the set of present classes; 0 without a hit.

    If the guess has counts:

    - ``lnacc``: mean of [count restored exactly], over the C classes, or over ``guess.restricted_to`` if set.
    - ``irec``: sum over classes of min(guessed count, true count) / B.
    - ``count_l1``: sum over classes of |guessed count - true count| / B.
    - ``exact_match``: 1 if all counts are right, else 0.

    If it certifies counts, ``certified``: their sum over B; ``falsely_certified``: those beyond the true counts, over
    B.

    If it has embeddings or probabilities, as the mean over the classes in the batch of the cosine similarity
    to the true mean: ``embedding_cosine``; ``output_cosine`` of the logits W ê + b, if the head is given;
    ``probability_cosine``.

    Args:
        guess: the guess of a method.
        truth: the truth about the batch, B >= 1 instances.
        head: the last layer of the victim, for ``output_cosine`` only.

    Raises:
        ValueError: guess and truth differ in their number of classes.
    """
    if guess.presence.shape != truth.counts.shape:
        raise ValueError(f"the guess is over {len(guess.presence)} classes and the truth over {len(truth.counts)}")
    B = int(truth.counts.sum())
    present = truth.counts > 0
    hits = int((guess.presence & present).sum())
    values = {
        "leacc": (guess.presence == present).double().mean().item(),
        "f1": 2 * hits / int(guess.presence.sum() + present.sum()),
    }
    if guess.counts is not None:
        right = guess.counts == truth.counts
        asked = right if guess.restricted_to is None else right[guess.restricted_to]
        values |= {
            "lnacc": asked.double().mean().item(),
            "irec": int(torch.minimum(guess.counts, truth.counts).sum()) / B,
            "count_l1": int((guess.counts - truth.counts).abs().sum()) / B,
            "exact_match": float(right.all()),
        }
    if guess.certified is not None:
        values["certified"] = int(guess.certified.sum()) / B
        values["falsely_certified"] = int((guess.certified - truth.counts).clamp(min=0).sum()) / B
    if guess.embeddings is not None:
        embeddings = guess.embeddings[present]
        values["embedding_cosine"] = _mean_cosine(embeddings, truth.embeddings[present])
        if head is not None:
            W = head.weight.detach().double().cpu()
            b = None if head.bias is None else head.bias.detach().double().cpu()
            values["output_cosine"] = _mean_cosine(linear(embeddings, W, b), truth.logits[present])
    if guess.probabilities is not None:
        values["probability_cosine"] = _mean_cosine(guess.probabilities[present], truth.probabilities[present])
    return values


def floors(batch_size: int, num_classes: int) -> dict[str, LabelGuess]:
    """Return guesses that use no gradient, as a baseline for scores.

    Both accuracies reward the many absent classes: the blank answer scores about 0.79 at B = 24 and C = 100.

    Args:
        batch_size: B.
        num_classes: C.

    Returns:
        ``floor-blank``, which says that no class is present, and ``floor-uniform``, which says that every
        class has B / C instances, rounded half to even. Both assign B instances as evenly as possible.
    """
    assignable = torch.from_numpy(largest_remainder(np.zeros(num_classes), batch_size))
    answers = {"floor-blank": 0, "floor-uniform": round(batch_size / num_classes)}
    return {name: _constant_guess(num_classes, count, assignable) for name, count in answers.items()}


def _constant_guess(num_classes: int, count: int, assignable: Tensor) -> LabelGuess:
    counts = torch.full((num_classes,), count, dtype=torch.int64)
    return LabelGuess(counts > 0, counts, assignable)


def _mean_cosine(left: Tensor, right: Tensor) -> float:
    """Return the mean over rows [n, m] of the cosine similarity; a zero row counts as 0."""
    return cosine_similarity(left.double(), right.double(), dim=1).mean().item()
