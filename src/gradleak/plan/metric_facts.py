"""Labels, formats and ranges of metrics, including derived ones: differences, snapshots, parts.

The catalogue is the only source of these facts. A metric that it does not know is labelled by its name, has three
digits, and is unbounded.
"""

import math

from gradleak.plan import catalogue
from gradleak.plan.catalogue.facts import MetricFacts

PSNR_CAP = 100.0
"""Largest PSNR in dB, at a mean squared error of 1e-10 or less. Without this cap a perfect image, and every mean that
includes it, would be infinite."""

RECOVERED = 40.0
"""PSNR in dB from which an image counts as recovered: an error of a hundredth of the range of a pixel."""

IMAGE_METRICS = ("psnr", "ssim", "mse", "feature_cosine", "label_accuracy")
"""Metrics of each image that every reconstruction has."""

INVERSION_METRICS = ("relative_error", "certified")
"""Those that exact inversion has besides."""

SNAPSHOT = "psnr_snapshot"
"""Mean PSNR of a batch at the iteration that the row names."""

DIFFERENCE = "difference_"
"""Prefix of the name of a paired difference; the metric's name follows."""

_NOT_NEGATIVE = (0.0, math.inf)
_UNBOUNDED = (-math.inf, math.inf)


def facts_of(metric: str) -> MetricFacts | None:
    """Return the catalogue's facts of a metric; those of PSNR for variants of PSNR; None if unknown.

    Args:
        metric: its name in results; may be that of a paired difference.
    """
    name = metric.removeprefix(DIFFERENCE)
    known = "psnr" if is_psnr(name) else name
    return catalogue.find("metrics", known) if known in catalogue.names("metrics") else None


_LABELS: dict[str, str] = {
    "soteria_embedding_mse": "Soteria emb. MSE",
    **{f"approx{number}_mse": f"approx. {number} MSE" for number in (1, 2, 3, 4)},
    "approx_out_mse": "approx. logits MSE",
    "approx_probabilities_mse": "approx. prob. MSE",
    "scale_mse": "scale MSE",
    "embedding_mse": "emb. MSE",
    "out_mse": "logit MSE",
    "probabilities_mse": "prob. MSE",
}
"""Metrics of the error analysis."""

_DIGITS = 3
"""Default number of decimals of a metric."""


def label(metric: str) -> str:
    """Return the name of a metric in tables and text."""
    facts = catalogue.find("metrics", metric) if metric in catalogue.names("metrics") else None
    return _LABELS.get(metric, metric) if facts is None or not facts.label else facts.label


def digits(metric: str) -> int:
    """Return the number of decimals of a metric that is not an error (:func:`is_error`)."""
    facts = facts_of(metric)
    if facts is not None and facts.digits is not None:
        return facts.digits
    return 1 if metric.startswith("restored_class_") else _DIGITS


def is_error(metric: str) -> bool:
    """Whether a metric is a mean squared or relative error: it ranges over many powers of ten."""
    return metric.endswith(("mse", "mre"))


def is_psnr(metric: str) -> bool:
    """Whether a metric is a peak signal-to-noise ratio in dB, including that of some images or of a snapshot."""
    return metric.removeprefix(DIFFERENCE).startswith("psnr")


def bounds(metric: str) -> tuple[float, float]:
    """Return the smallest and the largest value of a metric, infinite where there is no bound.

    A difference of two values reaches as far as the range is wide, in both directions.
    """
    if metric.startswith(DIFFERENCE):
        low, high = bounds(metric.removeprefix(DIFFERENCE))
        return low - high, high - low
    facts = facts_of(metric)
    if facts is not None:
        return facts.bounds
    return _NOT_NEGATIVE if is_error(metric) or metric.startswith("restored_class_") else _UNBOUNDED
