"""Metrics: their ranges and formats. Those without an object are measured by every job that can measure them."""

from gradleak.plan.catalogue.facts import MetricFacts
from gradleak.plan.metric_facts import PSNR_CAP


def _share(of: str, label: str = "") -> MetricFacts:
    return MetricFacts(of=of, low=0, high=1, label=label)  # pyright: ignore[reportArgumentType]


def _cosine(of: str, label: str = "") -> MetricFacts:
    return MetricFacts(of=of, low=-1, high=1, label=label)  # pyright: ignore[reportArgumentType]


def _positive(of: str, label: str = "", unit: str = "") -> MetricFacts:
    return MetricFacts(of=of, low=0, label=label, unit=unit)  # pyright: ignore[reportArgumentType]


KINDS = {
    "leacc": _share("labels", "LeAcc"),
    "lnacc": _share("labels", "LnAcc"),
    "irec": _share("labels", "IRec"),
    "f1": _share("labels", "F1"),
    "exact_match": _share("labels", "exact match"),
    "count_l1": _positive("labels", "count error"),
    "certified": _share("labels", "certified"),  # also of images
    "falsely_certified": _share("labels", "falsely certified"),
    "embedding_cosine": _cosine("labels", "emb. cos."),
    "output_cosine": _cosine("labels", "logit cos."),
    "probability_cosine": _cosine("labels", "prob. cos."),
    "soteria_embedding_cosine": _cosine("labels", "Soteria emb. cos."),
    "psnr": MetricFacts(of="images", low=0, high=PSNR_CAP, digits=2, label="PSNR", unit="dB"),
    "recovered": _share("images"),
    "predicted_psnr": MetricFacts(of="images", high=PSNR_CAP, digits=2, label="predicted PSNR", unit="dB"),
    "ssim": _cosine("images", "SSIM"),
    "mse": _share("images", "MSE"),  # images are in [0, 1]
    "lpips": _positive("images", "LPIPS"),
    "relative_error": _positive("images", "relative error"),
    "input_error": _positive("images", "relative error of what the first linear layer reads"),
    "feature_cosine": _cosine("images", "Feat."),
    "label_accuracy": _share("images", "Labels"),
    "diverged_restarts": _positive("images"),
    "accuracy": _share("victims"),
    "loss": _positive("victims"),
    "seconds": MetricFacts(of="jobs", low=0, digits=1, label="s", unit="s"),
    "peak_memory_mb": _positive("jobs", unit="MiB"),
}
