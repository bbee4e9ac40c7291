"""Numbers of gradient matching in the paper's prose: keys that begin with ``images/``.

Attacks that differ only in their labels are recognised by their names in the configuration: ``ig`` optimises labels,
``ig-ilrg`` has them restored, ``ig-truth`` has them given.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from gradleak.records import OK
from gradleak.report.image_rows import MATCHING, Reconstructions
from gradleak.report.numbers_of_views import NOT_MEASURED
from gradleak.report.paired import Difference
from gradleak.report.published_images import beside
from gradleak.report.settings import models_of, without
from gradleak.report.statistics import AGREES, DIFFERS
from gradleak.report.tables.base import Labels, judgement
from gradleak.report.tex import figure, listing

RESTORED, GIVEN = "-ilrg", "-truth"
"""Suffixes of the names of attacks whose labels are restored, or given."""

Cell = dict[str, Any]


def span(numbers: Iterable[int]) -> str:
    """Return ``3``, or ``1 to 3``; ``0`` for nothing."""
    low, high = min(numbers := list(numbers), default=0), max(numbers, default=0)
    return str(low) if low == high else f"{low} to {high}"


def decibels(values: Iterable[float]) -> str:
    """Return ``11.32``, or ``11.32 to 17.11``."""
    low, high = (figure("psnr", pick(values)) for values in (list(values),) for pick in (min, max))
    return low if low == high else f"{low} to {high}"


def extent(pictures: Reconstructions, labels: Labels) -> dict[str, str]:
    """Extent of the reconstructions; empty if the grid has no image experiment."""
    frame: Any = pictures.measured.frame
    if frame.empty:
        return {}
    psnr = frame[frame["metric"] == "psnr"]
    batches = psnr[["run", "aggregated", "seed", "trial", "status"]].drop_duplicates()
    summary: Any = pictures.measured.summary
    values = {
        "runs": f"{frame['run'].nunique():,}",
        "settings": str(len(pictures.cells())),
        "batches": f"{len(batches):,}",
        "images": f"{len(psnr):,}",
        "initialisations": span(summary.loc[summary["metric"] == "psnr", "n_initialisations"]),
        "data-sets": listing([labels.dataset.get(name, name) for name in dict.fromkeys(frame["dataset"])]),
        "victims": listing([labels.model.get(name, name) for name in models_of(frame)]),
        "methods": listing([labels.method.get(name, name) for name in pictures.methods()]),
        "batch-sizes": listing([str(size) for size in sorted({int(size) for size in frame["batch_size"]})]),
    }
    diverged = int((batches["status"] != OK).sum())
    dropped = int(frame.loc[frame["metric"] == "diverged_restarts", "value"].sum())
    values |= {"diverged": f"{diverged:,}", "dropped": f"{dropped:,}"}
    return {f"images/{name}": value for name, value in values.items()}


def options(sidecars: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """``images/iterations`` and ``images/restarts``: settings of the attacks."""
    specs = [record["spec"] for record in sidecars if record["identity"]["kind"] == MATCHING]
    return {f"images/{name}": span({int(spec[name]) for spec in specs}) for name in ("iterations", "restarts") if specs}


def _psnr(pictures: Reconstructions, cell: Cell, method: str) -> float:
    return pictures.measured.value(cell, method, "psnr").mean


def contrasts(pictures: Reconstructions, labels: Labels) -> dict[str, str]:
    """Effects of labels, aggregation and defenses on the PSNR, each over the settings that allow the comparison.

    ``images/restored`` and ``images/given``: the mean paired difference in dB to labels optimised, or restored.
    ``images/aggregates``: means for aggregates beside those for the same victims' clients one by one.
    ``images/defenses/(none|lowest|highest)``, and ``.../at``.
    """
    texts = {
        "images/restored": _gain(pictures, "", RESTORED),
        "images/given": _gain(pictures, RESTORED, GIVEN),
        "images/aggregates": _aggregates(pictures),
    }
    return texts | _defenses(pictures, labels)


def _gain(pictures: Reconstructions, before: str, after: str) -> str:
    pairs = [
        pictures.difference(cell, base + after, base + before)
        for cell in pictures.cells()
        for base in (method.removesuffix(after) for method in pictures.methods(cell) if method.endswith(after))
    ]
    pairs = [pair for pair in pairs if pair.value.n_trials]
    if not pairs:
        return NOT_MEASURED
    count = signs(pairs)
    return (
        f"{decibels(pair.value.mean for pair in pairs)} dB (settings: {len(pairs)}; of {count['judged']} with a 95 % "
        f"interval, {count['above']} above zero, {count['below']} below, {count['undecided']} undecided)"
    )


def signs(pairs: Iterable[Difference]) -> dict[str, str]:
    """Count paired differences by their 95 % intervals.

    Returns:
        ``judged``: number with an interval; ``above`` and ``below``: numbers of intervals entirely above and below 0;
        ``undecided``: number that contain 0.
    """
    judged = [pair.sign for pair in pairs if not math.isnan(pair.value.ci_low)]
    counts = {"judged": len(judged), "above": judged.count(1), "below": judged.count(-1), "undecided": judged.count(0)}
    return {name: str(count) for name, count in counts.items()}


def _aggregates(pictures: Reconstructions) -> str:
    """Pair aggregates with single clients of the same setting under the same attack."""
    single: dict[tuple[Any, ...], float] = {}
    together: dict[tuple[Any, ...], float] = {}
    for cell in pictures.cells():
        for method in pictures.methods(cell):
            key = (*without(cell, "batch_size", "aggregated"), method)
            (together if cell["aggregated"] else single)[key] = _psnr(pictures, cell, method)
    both = [key for key in together if key in single and together[key] == together[key] and single[key] == single[key]]
    if not both:
        return NOT_MEASURED
    return f"{decibels(together[key] for key in both)} dB, and {decibels(single[key] for key in both)} dB"


def _defenses(pictures: Reconstructions, labels: Labels) -> dict[str, str]:
    """Mean PSNR without a defense and the extremes under one, over settings that were attacked with and without."""
    groups: dict[tuple[Any, ...], dict[str, float]] = {}
    for cell in pictures.cells():
        setting = without(cell, "defense")
        for method in pictures.methods(cell):
            mean = _psnr(pictures, cell, method)
            if mean == mean:
                groups.setdefault((*setting, method), {})[cell["defense"]] = mean
    compared = [group for group in groups.values() if "none" in group and len(group) > 1]
    if not compared:
        return {}
    under = [(mean, name) for group in compared for name, mean in group.items() if name != "none"]
    texts = {"images/defenses/none": decibels(group["none"] for group in compared)}
    for end, (mean, name) in (("lowest", min(under)), ("highest", max(under))):
        texts[f"images/defenses/{end}"] = figure("psnr", mean)
        texts[f"images/defenses/{end}/at"] = labels.defense.get(name, name)
    return texts


def published(pictures: Reconstructions, figures: pd.DataFrame) -> dict[str, str]:
    """Numbers of published reconstructions that were measured at their setting and iterations, and that agree."""
    verdicts = []
    for cell in pictures.cells():
        for method in pictures.methods(cell):
            matched = beside(figures, pictures, cell, method, "psnr")[0]
            if matched.exact:
                verdicts.append(judgement(pictures.measured.value(cell, method, "psnr"), matched))
    judged = [word for word in verdicts if word in (AGREES, DIFFERS)]
    counts = {"covered": len(verdicts), "judged": len(judged), "agreeing": judged.count(AGREES)}
    return {f"images/published/{key}": str(count) for key, count in counts.items()}
