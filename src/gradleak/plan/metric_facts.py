"""What is known of metrics, also of those that are made of others: differences, snapshots, parts.

The range of a metric is declared in the catalogue and nowhere else; intervals are cut to it
(:mod:`gradleak.report.statistics`).
"""

import math

from gradleak.plan import catalogue
from gradleak.plan.catalogue.facts import MetricFacts

PSNR_CAP = 100.0
"""Largest PSNR in dB: that of a mean squared error of 1e-10 or less. A perfect image would have an infinite one, and
so would every mean that it takes part in."""

IMAGE_METRICS = ("psnr", "ssim", "mse", "feature_cosine", "label_accuracy")
"""Metrics of each image that every reconstruction has."""

SNAPSHOT = "psnr_snapshot"
"""Mean PSNR of a batch as it stands at the iteration that the row names."""

DIFFERENCE = "difference_"
"""What the name of a paired difference of a metric begins with; the metric's name follows."""

_NOT_NEGATIVE = (0.0, math.inf)
_UNBOUNDED = (-math.inf, math.inf)


def facts_of(metric: str) -> MetricFacts | None:
    """Return what the catalogue says of a metric, or of PSNR for that of some images or of a snapshot; None if nothing.

    Args:
        metric: its name in results, also that of a paired difference.
    """
    name = metric.removeprefix(DIFFERENCE)
    known = "psnr" if is_psnr(name) else name
    return catalogue.find("metrics", known) if known in catalogue.names("metrics") else None


def is_error(metric: str) -> bool:
    """Whether a metric is a mean squared or relative error: it ranges over many powers of ten."""
    return metric.endswith(("mse", "mre"))


def is_psnr(metric: str) -> bool:
    """Whether a metric is a peak signal-to-noise ratio in dB, also of some images or of a snapshot."""
    return metric.removeprefix(DIFFERENCE).startswith("psnr")


def digits(metric: str, usual: int) -> int:
    """Return the decimals that a metric is written with; ``usual`` where it does not say."""
    facts = facts_of(metric)
    return usual if facts is None or facts.digits is None else facts.digits


def bounds(metric: str) -> tuple[float, float]:
    """Return the smallest and the largest value that a metric can have, infinite where there is none.

    A metric that is not known is unbounded. A difference of two values reaches as far as the range is wide, in both
    directions.
    """
    if metric.startswith(DIFFERENCE):
        low, high = bounds(metric.removeprefix(DIFFERENCE))
        return low - high, high - low
    facts = facts_of(metric)
    if facts is not None:
        return facts.bounds
    return _NOT_NEGATIVE if is_error(metric) or metric.startswith("restored_class_") else _UNBOUNDED
