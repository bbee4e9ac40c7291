"""Tables and figures in the paper's text: their subsections, and the ranges that the prose quotes."""

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import pandas as pd

from gradleak.plan import catalogue
from gradleak.records import is_attack
from gradleak.report.frames import concatenate
from gradleak.report.image_rows import DIFFUSION, only_images, without_images
from gradleak.report.summary import Measured, distinct
from gradleak.report.tables.base import Labels
from gradleak.report.tex import Raw, escape, figure, listing, number

NOT_MEASURED = "not measured in this build"
"""Text in place of a comparison that the grid does not allow."""

_ACCURACIES = ("leacc", "lnacc", "irec")
_BESIDE = {
    "accuracy_over_batch": "batch_size_and_depth",
    "accuracy_over_stage": "training_stage",
    "accuracy_over_defenses": "defenses",
    "soteria_embedding": "error_analysis",
    "recovered_over_batch": "exact_inversion",
    "precision_law": "exact_inversion",
}
"""Kind of view -> its subsection, where that has another name."""

Views = Mapping[str, Mapping[str, Any]]
Frames = Mapping[str, pd.DataFrame]


def section_of(part: Literal["tables", "figures"], view: Mapping[str, Any], frames: Frames) -> str:
    """Return the subsection of a view; for views of images it depends on their experiments."""
    kind = str(view["kind"])
    if kind in _BESIDE or catalogue.IMAGES not in catalogue.find(part, kind).needs:
        return _BESIDE.get(kind, kind)
    shown: Any = only_images(concatenate(frames[name] for name in view["experiments"]))
    if (shown["kind"] == DIFFUSION).any():
        return "diffusion"
    # A defense is judged against the undefended victim, so without that there is nothing to compare.
    return "reconstruction_defenses" if {"none"} < set(shown["defense"]) else "reconstruction"


def values(tables: Views, figures: Views, frames: Frames, labels: Labels) -> dict[str, str]:
    """Return the keys that place views in the text.

    ``views/SECTION`` are the tables and figures of a subsection, ``refs/SECTION`` names them. ``tables/KIND`` and
    ``figures/KIND``, ``ref/table/KIND`` (the first), ``refs/table/KIND`` (all) are those of one kind, for prose about
    kinds of plug-ins.
    """
    floats: dict[str, str] = {}
    refs: dict[str, list[str]] = {}
    shown: dict[str, dict[str, None]] = {}
    parts: list[tuple[Literal["tables", "figures"], str, Views]] = [
        ("tables", "table", tables),
        ("figures", "figure", figures),
    ]
    for part, what, views in parts:
        for name, view in views.items():
            section, kind = section_of(part, view, frames), view["kind"]
            text = rf"\input{{{name}.tex}}" if what == "table" else _figure(name, view)
            ref = rf"{what.title()}~\ref{{{what[:3]}:{name}}}"
            for key, of_it in ((f"views/{section}", section), (f"{part}/{kind}", f"{what}/{kind}")):
                floats[key] = floats.get(key, "") + text
                refs.setdefault(of_it, []).append(ref)
            shown.setdefault(section, {}).update(dict.fromkeys(view["experiments"]))
    texts: dict[str, str] = {key: Raw(text) for key, text in floats.items()}
    texts |= {f"refs/{key}": Raw(listing(names)) for key, names in refs.items()}
    texts |= {f"ref/{key}": Raw(names[0]) for key, names in refs.items() if "/" in key}
    for section, experiments in shown.items():
        measured = Measured(without_images(distinct(concatenate(frames[name] for name in experiments))))
        if len(measured.cells()):
            texts |= _ranges(section, measured, labels)
    return texts


def _figure(name: str, view: Mapping[str, Any]) -> str:
    return rf"\ResultFigure{{{name}}}{{{escape(view['caption'] or catalogue.find('figures', view['kind']).caption)}}}"


def _ranges(section: str, measured: Measured, labels: Labels) -> dict[str, str]:
    """``range/SECTION/METRIC[/at]``: extreme means of each attack, and their settings; ``range/SECTION/settings``."""
    texts = {f"range/{section}/settings": str(len(measured.cells()))}
    methods = [name for name in dict.fromkeys(measured.frame["method"]) if is_attack(name)]
    for metric in _ACCURACIES:
        plain, placed = [], []
        for method in methods:
            means = [(measured.value(cell, method, metric).mean, cell) for cell in measured.cells()]
            means = [(mean, labels.setting(cell)) for mean, cell in means if mean == mean]
            if not means:
                continue
            ends = [pick(means, key=lambda item: item[0]) for pick in (min, max)]
            (low, here), (high, there) = ((figure(metric, mean), place) for mean, place in ends)
            attack = labels.method.get(method, method)
            plain.append(f"{low} for {attack}" if low == high else f"{low} to {high} for {attack}")
            placed.append(plain[-1] if low == high else f"{low} ({here}) to {high} ({there}) for {attack}")
        texts[f"range/{section}/{metric}"] = listing(plain) or NOT_MEASURED
        texts[f"range/{section}/{metric}/at"] = listing(placed) or NOT_MEASURED
    return texts


def series(lines: Iterable[list[dict[str, Any]]], measured: Measured, labels: Labels) -> dict[str, str]:
    """``series/METRIC``: each attack's means at the smallest and the largest batch of settings that differ only in B.

    Args:
        lines: settings that differ in batch size alone, ascending, see
            :func:`gradleak.report.figures.accuracy_over_batch.series`.
        measured: their values.
        labels: names in tables and figures.
    """
    texts = {}
    methods = [name for name in dict.fromkeys(measured.frame["method"]) if is_attack(name)]
    pairs = [(line[0], line[-1]) for line in lines if len(line) > 1]
    for metric in ("lnacc", "irec"):
        words = []
        for method in methods:
            for ends in pairs:
                means = [measured.value(cell, method, metric).mean for cell in ends]
                if all(mean == mean for mean in means):
                    (low, first), (high, last) = zip(
                        map(number, means), (cell["batch_size"] for cell in ends), strict=True
                    )
                    where = f"{labels.method.get(method, method)} on {labels.setting(ends[0], without=('batch_size',))}"
                    words.append(f"{low} at B={first} to {high} at B={last} ({where})")
        texts[f"series/{metric}"] = listing(words) or "one to the same, since each setting has one batch size"
    return texts
