"""The numbers that the paper's prose quotes, and the facts on which its sentences depend.

Keys are paths: ``runs``, ``value/ilrg/mnist/fcn/64/lnacc``, ``series/mnist/fcn/lnacc/last``. The text asks
for them by ``\\IfHas{key}{yes}{no}`` and ``\\Get{key}``, so it reads right whatever part of the grid was run.
A packaged sample is found under the name of the data set that it stands for; ``name/...`` says which of the
two it was.
"""

from collections.abc import Iterable, Mapping
from itertools import product
from typing import Any

import pandas as pd

from gradleak.plan import catalogue as facts
from gradleak.plan.catalogue import stands_for
from gradleak.records import OK, is_attack
from gradleak.report import numbers_of_images as quoted_images
from gradleak.report import numbers_of_priors as quoted_diffusion
from gradleak.report import published_images
from gradleak.report.figures import all as figures_of
from gradleak.report.frames import concatenate
from gradleak.report.image_rows import DIFFUSION, MATCHING, Reconstructions, only_images, without_images
from gradleak.report.numbers_of_images import span
from gradleak.report.statistics import AGREES, DIFFERS, UNDECIDED, applicable
from gradleak.report.summary import Measured, distinct, unambiguous
from gradleak.report.tables.agreement import FRESH, pair
from gradleak.report.tables.base import Labels, Request
from gradleak.report.tex import Raw, duration, escape, figure, listing, number

_ACCURACIES = ("leacc", "lnacc", "irec")
_PLAIN = {"distribution": "random", "stage": "untrained", "defense": "none"}

Cell = dict[str, Any]
Views = Mapping[str, Mapping[str, Any]]


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
) -> dict[str, str]:
    """Gather every number that the text may quote.

    Restored labels and reconstructed images are different measurements, so no count or range holds both: those of
    images begin with ``images/``, and are of gradient matching without a prior that was learnt.

    Args:
        frames: experiment -> its rows.
        published: what :func:`gradleak.report.published.load` gave.
        rerun: what :func:`gradleak.report.published.load_rerun` gave.
        sidecars: the run.json of every run.
        tables: name -> ``kind``, ``experiments`` and ``caption`` of the tables that are built.
        figures: the same of the figures.
        labels: names to write.
        images: what :func:`gradleak.report.published_images.load` gave; none if omitted.

    Returns:
        Key -> text, for :func:`gradleak.report.tex.macros`.

    Raises:
        InputError: runs that must not be averaged, see :func:`gradleak.report.summary.distinct`; an unknown figure
            kind.
    """
    # Tables show what could not be tried; the text speaks of what was.
    frames = {name: applicable(frame) for name, frame in frames.items()}
    whole = concatenate(frames)
    records = list(sidecars)
    everything = Measured(unambiguous(without_images(whole)))
    pictures = Reconstructions.of(unambiguous(only_images(whole)), kinds=(MATCHING,))
    values: dict[str, str] = {}
    values |= _views(tables, figures)
    values |= _whole(whole, labels)
    values |= _extent(everything, labels)
    values |= _cells(everything, labels)
    values |= _agreement(Request(everything, published, rerun, labels, draft=True, name="text"), labels)
    values |= quoted_images.extent(pictures, labels)
    if whole.loc[whole["kind"] == DIFFUSION, "method"].map(is_attack).astype(bool).any():
        values["images/diffusion"] = "yes"
        both = Reconstructions.of(unambiguous(only_images(whole)))
        values |= quoted_diffusion.values(both, records, labels)
    values |= quoted_images.values(pictures, labels)
    values |= quoted_images.contrasts(pictures, labels)
    values |= quoted_images.published(pictures, published_images.empty() if images is None else images)
    for kind in dict.fromkeys(view["kind"] for view in tables.values()):
        shown = [name for view in tables.values() if view["kind"] == kind for name in view["experiments"]]
        here = distinct(concatenate(frames[name] for name in dict.fromkeys(shown)))
        if _of_images(facts.TABLES[kind]):
            found = Reconstructions.of(here)
            values |= _extremes(kind, found.measured, found.methods(), ("psnr", "ssim", "label_accuracy"), labels)
        else:
            measured = Measured(without_images(here))
            values |= _extremes(kind, measured, ("ilrg", "idlg", "gi", "rlg"), _ACCURACIES, labels)
    return values | quoted_images.options(records) | _provenance(records)


def _of_images(needs: tuple[str, ...]) -> bool:
    """Whether a kind of view shows image experiments, by the attacks that it needs."""
    return facts.IMAGES in needs


def _views(tables: Views, figures: Views) -> dict[str, str]:
    """``tables/KIND`` puts a kind's tables into the text; ``ref/table/KIND`` names the first, ``refs/table/KIND`` all.

    Figures alike; ``views/images`` says that some of them are of image experiments.
    """
    inputs: dict[str, str] = {}
    refs: dict[str, list[str]] = {}
    for name, view in tables.items():
        inputs[f"tables/{view['kind']}"] = inputs.get(f"tables/{view['kind']}", "") + rf"\input{{{name}.tex}}"
        refs.setdefault(f"table/{view['kind']}", []).append(rf"Table~\ref{{tab:{name}}}")
    for name, view in figures.items():
        caption = escape(view["caption"] or figures_of.find(view["kind"]).caption)
        shown = rf"\ResultFigure{{{name}}}{{{caption}}}"
        inputs[f"figures/{view['kind']}"] = inputs.get(f"figures/{view['kind']}", "") + shown
        refs.setdefault(f"figure/{view['kind']}", []).append(rf"Figure~\ref{{fig:{name}}}")
    inputs |= {f"ref/{key}": names[0] for key, names in refs.items()}
    inputs |= {f"refs/{key}": listing(names) for key, names in refs.items()}
    needs = [facts.TABLES[view["kind"]] for view in tables.values()]
    if any(map(_of_images, [*needs, *(facts.FIGURES[view["kind"]] for view in figures.values())])):
        inputs["views/images"] = "yes"
    return {key: Raw(text) for key, text in inputs.items()}


def _whole(frame: pd.DataFrame, labels: Labels) -> dict[str, str]:
    """What labels and images have in common: the number of runs, and where the data are from."""
    datasets = [str(name) for name in dict.fromkeys(frame["dataset"])]
    values = {"all/runs": f"{frame['run'].nunique():,}"}
    values |= {f"data/{name}": labels.dataset.get(name, name) for name in datasets}
    if set(frame["stage"]) - {"untrained"}:
        values["all/trained"] = "yes"
    if any(stands_for(name) != name for name in datasets):
        values["samples"] = "yes"
    if any(stands_for(name) == name for name in datasets):
        values["full-sets"] = "yes"
    return values


def _extent(measured: Measured, labels: Labels) -> dict[str, str]:
    """How much was measured."""
    frame: Any = measured.frame
    if frame.empty:
        return {"runs": "0", "tries": "0", "settings": "0"}
    tries = frame.loc[frame["trial"] >= 0, ["run", "seed", "trial"]].drop_duplicates()
    of_methods: Any = measured.summary[measured.summary["method"].map(is_attack)]
    datasets, models = list(dict.fromkeys(frame["dataset"])), list(dict.fromkeys(frame["model"]))
    methods = [name for name in dict.fromkeys(frame["method"]) if is_attack(name)]
    sizes = sorted(int(size) for size in set(frame["batch_size"]))
    values = {
        "runs": f"{frame['run'].nunique():,}",
        "tries": f"{len(tries):,}",
        "settings": str(len(measured.cells())),
        "labels/runs": f"{frame['run'].nunique():,}",
        "initialisations": span(of_methods["n_initialisations"]),
        "tries-per-run": span(tries.groupby("run").size()),
        "data-sets": listing([labels.dataset.get(name, name) for name in datasets]),
        "victims": listing([labels.model.get(name, name) for name in models]),
        "methods": listing([labels.method.get(name, name) for name in methods]),
        "batch-sizes": listing([str(size) for size in sizes]),
        "batch-min": str(sizes[0]),
        "batch-max": str(sizes[-1]),
    }
    if (of_methods["n_initialisations"] > 1).all():
        values["several-initialisations"] = "yes"
    diverged = frame.loc[(frame["status"] != OK) & (frame["trial"] >= 0), ["run", "method", "seed", "trial"]]
    if len(diverged):
        values["diverged"] = f"{len(diverged.drop_duplicates()):,}"
    values |= {f"method/{name}": labels.method.get(name, name) for name in methods}
    for flag, column, usual in (("trained", "stage", "untrained"), ("defended", "defense", "none")):
        if (frame[column] != usual).any():
            values[flag] = "yes"
    return values


def _full_first(cells: list[Cell]) -> list[Cell]:
    """Random batches of untrained, undefended victims; a sample only where its full data set is missing."""
    usual = [cell for cell in cells if all(cell[name] == word for name, word in _PLAIN.items())]
    usual.sort(key=lambda cell: stands_for(cell["dataset"]) != cell["dataset"])
    full = {cell["dataset"] for cell in usual}
    return [c for c in usual if stands_for(c["dataset"]) == c["dataset"] or stands_for(c["dataset"]) not in full]


def _cells(measured: Measured, labels: Labels) -> dict[str, str]:
    """``value/METHOD/DATASET/MODEL/B/METRIC`` and the two ends of every series over the batch size."""
    values: dict[str, str] = {}
    series: dict[str, list[Cell]] = {}
    for cell in _full_first(measured.cells()):
        dataset = stands_for(cell["dataset"])
        values[f"name/{dataset}"] = labels.dataset.get(cell["dataset"], cell["dataset"])
        values[f"name/{cell['model']}"] = labels.model.get(cell["model"], cell["model"])
        series.setdefault(f"{dataset}/{cell['model']}", []).append(cell)
        for method in ("ilrg", "idlg", "gi", "rlg"):
            for metric in (*_ACCURACIES, "probability_cosine"):
                value = measured.value(cell, method, metric)
                if value.n_trials:
                    key = f"value/{method}/{dataset}/{cell['model']}/{cell['batch_size']}/{metric}"
                    values[key] = number(value.mean)
    for name, cells in series.items():
        ends = {end: pick(cells, key=lambda cell: cell["batch_size"]) for end, pick in (("first", min), ("last", max))}
        for metric in _ACCURACIES:
            found = {end: measured.value(cell, "ilrg", metric) for end, cell in ends.items()}
            if ends["first"] == ends["last"] or not all(value.n_trials for value in found.values()):
                continue
            for end, cell in ends.items():
                values[f"series/{name}/{end}"] = str(cell["batch_size"])
                values[f"series/{name}/{metric}/{end}"] = number(found[end].mean)
    return values


def _extremes(
    kind: str, measured: Measured, methods: Iterable[str], metrics: Iterable[str], labels: Labels
) -> dict[str, str]:
    """``range/KIND/METHOD/METRIC/(low|high)[/at]``: extreme means of a table, and where if they differ."""
    values: dict[str, str] = {}
    for method, metric in product(methods, metrics):
        found = [(measured.value(cell, method, metric).mean, cell) for cell in measured.cells()]
        found = [(mean, cell) for mean, cell in found if mean == mean]
        if not found:
            continue
        places = {}
        for end, pick in (("low", min), ("high", max)):
            mean, cell = pick(found, key=lambda item: item[0])
            values[f"range/{kind}/{method}/{metric}/{end}"] = figure(metric, mean)
            places[end] = labels.setting(cell)
        low, high = (values[f"range/{kind}/{method}/{metric}/{end}"] for end in ("low", "high"))
        values[f"range/{kind}/{method}/{metric}"] = low if low == high else f"{low} to {high}"
        if low != high:
            values |= {f"range/{kind}/{method}/{metric}/{end}/at": place for end, place in places.items()}
    values[f"range/{kind}/settings"] = str(len(measured.cells()))
    return values


def _agreement(request: Request, labels: Labels) -> dict[str, str]:
    """How many published figures are covered and how many agree; the same for the rerun."""
    found: Any = pair(request)
    judged = found[found["verdict"] != UNDECIDED]
    values = {
        "published/covered": str(len(found)),
        "published/logs": str(found["source_log"].nunique()),
        "published/agreeing": str(int((judged["verdict"] == AGREES).sum())),
        "published/differing": str(int((judged["verdict"] == DIFFERS).sum())),
        "published/fresh": str(int((judged["explained"] == FRESH).sum())),
        "published/judged": str(len(judged)),
    }
    checks = {"published/any": len(found), "published/any-judged": len(judged)}
    differs = judged[judged["verdict"] == DIFFERS]
    checks["published/any-differing"] = len(differs)
    checks["published/any-fresh"] = int((judged["explained"] == FRESH).sum())
    # Squared errors have units of their own, so theirs are not compared with departures of shares and cosines.
    differs = differs[~differs["metric"].str.endswith("_mse")]
    if len(differs):
        checks["published/any-worst"] = len(differs)
        worst = differs.loc[differs["difference"].abs().idxmax()]
        cell = {str(key): value for key, value in worst.items()} | {"dataset": worst["measured_on"]}
        values["published/worst"] = number(abs(worst["difference"]))
        values["published/worst/at"] = labels.setting(cell)
        words = {"leacc": "LeAcc", "lnacc": "LnAcc", "irec": "IRec"}
        what = str(worst["metric"])
        values["published/worst/what"] = words.get(what, what.replace("_", " "))
        values["published/worst/method"] = labels.method.get(worst["method"], worst["method"])
        values["published/worst/published"] = number(worst["published"])
        values["published/worst/measured"] = number(worst["mean"])
    again = found[found["rerun_verdict"] != UNDECIDED]
    if len(again):
        checks["rerun/any"] = len(again)
        values["rerun/covered"] = str(len(again))
        values["rerun/agreeing"] = str(int((again["rerun_verdict"] == AGREES).sum()))
        mixed = (again["rerun_verdict"] == AGREES) & (again["verdict"] == DIFFERS)
        if mixed.any():
            values["rerun/agreeing-but-not-published"] = str(int(mixed.sum()))
    return values | {key: "yes" for key, count in checks.items() if count}


def _provenance(sidecars: list[Mapping[str, Any]]) -> dict[str, str]:
    """Commit, machine, versions and cost; several values are listed, never picked from."""
    if not sidecars:
        return {}

    def distinct_of(pick: Any) -> list[str]:
        return list(dict.fromkeys(str(pick(record)) for record in sidecars))

    commits = distinct_of(lambda record: (record["commit"] or "unknown")[:12])
    values = {
        "commit": listing(commits),
        "processor": listing(distinct_of(lambda record: record["hardware"]["processor"])),
        "cores": span([int(record["hardware"]["cores"]) for record in sidecars]),
        "device": listing(distinct_of(lambda record: record["device"])),
        "compute": duration(sum(float(record["seconds"]) for record in sidecars)),
        "memory": f"{max(float(record['peak_memory_mb']) for record in sidecars):,.0f} MiB",
    }
    if len(commits) > 1:
        values["several-commits"] = str(len(commits))
    if any(record["dirty"] for record in sidecars):
        values["dirty"] = "yes"
    for name in dict.fromkeys(name for record in sidecars for name in record["packages"]):
        versions = distinct_of(lambda record, name=name: record["packages"].get(name, "not installed"))
        values[f"version/{name}"] = listing(versions)
    return values
