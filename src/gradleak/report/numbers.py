"""The numbers that the paper's prose quotes, and the keys that choose its sections.

Keys are paths: ``runs``, ``range/comparison/lnacc``, ``images/restored``. The prose is written for the full grid and
gets numbers by ``\\Get{key}``, which stops the build if the grid did not measure the number, unless it is a draft.
Counts exist for every grid and may be 0.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from gradleak.plan import metric_facts
from gradleak.records import OK, is_attack
from gradleak.report import numbers_of_images as quoted_images
from gradleak.report import numbers_of_priors as quoted_diffusion
from gradleak.report import numbers_of_views as quoted_views
from gradleak.report import published_images
from gradleak.report.figures.accuracy_over_batch import series
from gradleak.report.frames import concatenate
from gradleak.report.image_rows import DIFFUSION, MATCHING, Reconstructions, only_images, without_images
from gradleak.report.numbers_of_images import span
from gradleak.report.settings import is_usual, models_of
from gradleak.report.statistics import AGREES, DIFFERS, UNDECIDED, applicable
from gradleak.report.summary import Measured, unambiguous
from gradleak.report.tables.agreement import FRESH, pair
from gradleak.report.tables.base import Labels, Request
from gradleak.report.tex import duration, listing, number

_CIRCUMSTANCES = ("distribution", "stage", "defense")

Cell = dict[str, Any]
Views = quoted_views.Views


def gather(
    frames: Mapping[str, pd.DataFrame],
    published: pd.DataFrame,
    rerun: pd.DataFrame,
    sidecars: Iterable[Mapping[str, Any]],
    *,
    tables: Views,
    figures: Views,
    labels: Labels,
    images: pd.DataFrame | None = None,
    policies: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Gather every number that the text may quote.

    Restored labels and reconstructed images are different measurements, so no count or range mixes them: keys of images
    begin with ``images/``, and cover gradient matching without a learnt prior.

    Args:
        frames: experiment -> its rows.
        published: the result of :func:`gradleak.report.published.load`.
        rerun: the result of :func:`gradleak.report.published.load_rerun`.
        sidecars: the run.json of every run.
        tables: name -> ``kind``, ``experiments`` and ``caption`` of the tables that are built.
        figures: the same for the figures.
        labels: names in tables and figures.
        images: the result of :func:`gradleak.report.published_images.load`; none if omitted.
        policies: see :meth:`gradleak.plan.grid.Grid.label_policies`; none if omitted.

    Returns:
        Key -> text, for :func:`gradleak.report.tex.macros`.

    Raises:
        InputError: runs that must not be averaged, see :func:`gradleak.report.summary.distinct`; an unknown kind of
            figure.
    """
    # Tables show tries that were not possible; the text covers only those that were.
    frames = {name: applicable(frame) for name, frame in frames.items()}
    whole = concatenate(frames)
    records = list(sidecars)
    everything = Measured(unambiguous(without_images(whole)))
    pictures = Reconstructions.of(unambiguous(only_images(whole)), kinds=(MATCHING,))
    values: dict[str, str] = {}
    values |= quoted_views.values(tables, figures, frames, labels)
    values |= _whole(whole, labels)
    values |= _extent(everything, labels)
    if "views/batch_size_and_depth" in values:
        usual = [cell for cell in everything.cells() if all(is_usual(cell, part) for part in _CIRCUMSTANCES)]
        values |= quoted_views.series(series(usual), everything, labels)
    values |= _agreement(Request(everything, published, rerun, labels, draft=True, name="text"), labels)
    values |= quoted_images.extent(pictures, labels)
    if whole.loc[whole["kind"] == DIFFUSION, "method"].map(is_attack).astype(bool).any():
        both = Reconstructions.of(unambiguous(only_images(whole)))
        values |= quoted_diffusion.values(both, policies or {}, labels)
    values |= quoted_images.contrasts(pictures, labels)
    values |= quoted_images.published(pictures, published_images.empty() if images is None else images)
    return values | quoted_images.options(records) | _provenance(records)


def _whole(frame: pd.DataFrame, labels: Labels) -> dict[str, str]:
    """Numbers over labels and images together."""
    return {
        "all/runs": f"{frame['run'].nunique():,}",
        "all/data-sets": _names(frame["dataset"], labels.dataset),
        "all/victims": _names(models_of(frame), labels.model),
    }


def _names(ids: Iterable[str], labels: Mapping[str, str]) -> str:
    return listing([labels.get(name, name) for name in dict.fromkeys(ids)])


def _extent(measured: Measured, labels: Labels) -> dict[str, str]:
    """Extent of the measurements of label restoration; ``labels/runs`` exists only if there are any."""
    frame: Any = measured.frame
    if frame.empty:
        return {"runs": "0", "tries": "0", "settings": "0"}
    tries = frame.loc[frame["trial"] >= 0, ["run", "seed", "trial"]].drop_duplicates()
    of_methods: Any = measured.summary[measured.summary["method"].map(is_attack)]
    diverged = frame.loc[(frame["status"] != OK) & (frame["trial"] >= 0), ["run", "method", "seed", "trial"]]
    runs = f"{frame['run'].nunique():,}"
    return {
        "runs": runs,
        "labels/runs": runs,
        "tries": f"{len(tries):,}",
        "settings": str(len(measured.cells())),
        "initialisations": span(of_methods["n_initialisations"]),
        "tries-per-run": span(tries.groupby("run").size()),
        "data-sets": _names(frame["dataset"], labels.dataset),
        "victims": _names(models_of(frame), labels.model),
        "methods": _names(filter(is_attack, frame["method"]), labels.method),
        "batch-sizes": listing([str(size) for size in sorted({int(size) for size in frame["batch_size"]})]),
        "diverged": f"{len(diverged.drop_duplicates()):,}",
    }


def _agreement(request: Request, labels: Labels) -> dict[str, str]:
    """Numbers of published figures that are covered and that agree; the same for the rerun."""
    paired: Any = pair(request)
    judged = paired[paired["verdict"] != UNDECIDED]
    differs = judged[judged["verdict"] == DIFFERS]
    again = paired[paired["rerun_verdict"] != UNDECIDED]
    as_rerun = again["rerun_verdict"] == AGREES
    counts = {
        "published/covered": len(paired),
        "published/logs": paired["source_log"].nunique(),
        "published/judged": len(judged),
        "published/agreeing": (judged["verdict"] == AGREES).sum(),
        "published/differing": len(differs),
        "published/fresh": (judged["explained"] == FRESH).sum(),
        "rerun/covered": len(again),
        "rerun/agreeing": as_rerun.sum(),
        "rerun/agreeing-but-not-published": (as_rerun & (again["verdict"] == DIFFERS)).sum(),
    }
    return {key: f"{count:,}" for key, count in counts.items()} | {"published/worst": _worst(differs, labels)}


def _worst(differs: Any, labels: Labels) -> str:
    """Describe the figure that departs most; squared errors, whose units differ, are left out."""
    differs = differs[~differs["metric"].str.endswith("_mse")]
    if differs.empty:
        return "none"
    worst = differs.loc[differs["difference"].abs().idxmax()]
    cell = {str(key): value for key, value in worst.items()} | {"dataset": worst["measured_on"]}
    return (
        f"{metric_facts.label(worst['metric'])} of {labels.method.get(worst['method'], worst['method'])} "
        f"on {labels.setting(cell)}, "
        f"measured {number(worst['mean'])} against {number(worst['published'])} published"
    )


def _provenance(sidecars: list[Mapping[str, Any]]) -> dict[str, str]:
    """Commit, machine, versions and cost; if there are several values, all are listed."""
    if not sidecars:
        return {}

    def distinct_of(pick: Any) -> list[str]:
        return list(dict.fromkeys(str(pick(record)) for record in sidecars))

    packages = dict.fromkeys(name for record in sidecars for name in record["packages"])
    versions = {
        name: distinct_of(lambda record, name=name: record["packages"].get(name, "not installed")) for name in packages
    }
    return {
        "commit": listing(distinct_of(_commit)),
        "processor": listing(distinct_of(lambda record: record["hardware"]["processor"])),
        "cores": span([int(record["hardware"]["cores"]) for record in sidecars]),
        "device": listing(distinct_of(lambda record: record["device"])),
        "compute": duration(sum(float(record["seconds"]) for record in sidecars)),
        "memory": f"{max(float(record['peak_memory_mb']) for record in sidecars):,.0f} MiB",
        "versions": ", ".join(f"{name} {' or '.join(numbers)}" for name, numbers in versions.items()),
    }


def _commit(record: Mapping[str, Any]) -> str:
    """Return the commit as ``git describe --dirty`` would."""
    return (record["commit"] or "unknown")[:12] + ("-dirty" if record["dirty"] else "")
