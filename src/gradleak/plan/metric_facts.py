"""What must be known about metrics without importing torch: how each is called and written, and its range.

A metric is declared here and nowhere else: tables write it by its label and its digits, and intervals are cut to its
range (:mod:`gradleak.report.statistics`). A metric that is not known here, such as a plug-in's, goes by its name, has
three digits, and is unbounded.
"""

import math

PSNR_CAP = 100.0
"""Largest PSNR in dB: that of a mean squared error of 1e-10 or less. A perfect image would have an infinite one, and
so would every mean that it takes part in."""

IMAGE_METRICS = ("psnr", "ssim", "mse", "feature_cosine", "label_accuracy")
"""Metrics of each image that every reconstruction has."""

DIFFERENCE = "difference_"
"""What the name of a paired difference of a metric begins with; the metric's name follows."""

_UNBOUNDED = (-math.inf, math.inf)
_NOT_NEGATIVE = (0.0, math.inf)

_RANGES: dict[str, tuple[float, float]] = {
    **dict.fromkeys(
        ("leacc", "lnacc", "irec", "f1", "exact_match", "label_accuracy", "accuracy", "mse"),  # images are in [0, 1]
        (0.0, 1.0),
    ),
    **dict.fromkeys(
        (
            "embedding_cosine",
            "output_cosine",
            "probability_cosine",
            "soteria_embedding_cosine",
            "feature_cosine",
            "ssim",
        ),
        (-1.0, 1.0),
    ),
    **dict.fromkeys(("count_l1", "lpips", "loss", "seconds", "peak_memory_mb", "diverged_restarts"), _NOT_NEGATIVE),
}

_LABELS: dict[str, str] = {
    "leacc": "LeAcc",
    "lnacc": "LnAcc",
    "irec": "IRec",
    "f1": "F1",
    "count_l1": "count error",
    "exact_match": "exact match",
    "embedding_cosine": "emb. cos.",
    "output_cosine": "logit cos.",
    "probability_cosine": "prob. cos.",
    "soteria_embedding_cosine": "Soteria emb. cos.",
    "soteria_embedding_mse": "Soteria emb. MSE",
    **{f"approx{number}_mse": f"approx. {number} MSE" for number in (1, 2, 3, 4)},
    "approx_out_mse": "approx. logits MSE",
    "approx_probabilities_mse": "approx. prob. MSE",
    "scale_mse": "scale MSE",
    "embedding_mse": "emb. MSE",
    "out_mse": "logit MSE",
    "probabilities_mse": "prob. MSE",
    "psnr": "PSNR",
    "ssim": "SSIM",
    "mse": "MSE",
    "lpips": "LPIPS",
    "feature_cosine": "Feat.",
    "label_accuracy": "Labels",
    "seconds": "s",
}

_DIGITS = 3
"""Decimals of a metric of which nothing else is said."""


def label(metric: str) -> str:
    """Return how tables and text write the name of a metric."""
    return _LABELS.get(metric, metric)


def digits(metric: str) -> int:
    """Return with how many decimals a metric is written, unless it is an error (:func:`is_error`)."""
    if is_psnr(metric):
        return 2
    return 1 if metric == "seconds" or metric.startswith("restored_class_") else _DIGITS


def is_error(metric: str) -> bool:
    """Whether a metric is a mean squared or relative error: it ranges over many powers of ten."""
    return metric.endswith(("mse", "mre"))


def is_psnr(metric: str) -> bool:
    """Whether a metric is a peak signal-to-noise ratio in dB, also of some images or of a snapshot."""
    return metric.removeprefix(DIFFERENCE).startswith("psnr")


def bounds(metric: str) -> tuple[float, float]:
    """Return the smallest and the largest value that a metric can have, infinite where there is none.

    A difference of two values reaches as far as the range is wide, in both directions.
    """
    if metric.startswith(DIFFERENCE):
        low, high = bounds(metric.removeprefix(DIFFERENCE))
        return low - high, high - low
    if metric in _RANGES:
        return _RANGES[metric]
    if is_psnr(metric):
        return 0.0, PSNR_CAP
    return _NOT_NEGATIVE if is_error(metric) or metric.startswith("restored_class_") else _UNBOUNDED
