"""The law of precision: measured over predicted PSNR of every image that exact inversion was after."""

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from gradleak.errors import InputError
from gradleak.plan.metric_facts import PSNR_CAP, RECOVERED
from gradleak.records import CELL, OK
from gradleak.report.figures.base import COLOURS, MARKERS, Request, add_legend, grid
from gradleak.report.image_rows import only_images
from gradleak.report.settings import columns_of

_LOW = 20.0
"""Left end of the axes in dB."""

_MISSES = 24.0
"""Where on the measured axis images stand that were missed though the law holds them: above the axis itself."""

_BATCH = [*CELL, "method", "model_seed", "seed", "trial", "client", "image"]


def images_of(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a row per image with columns ``psnr`` and ``predicted_psnr``, of images that have both."""
    rows: Any = only_images(frame)
    good = rows[(rows["status"] == OK) & rows["metric"].isin(("psnr", "predicted_psnr")) & (rows["image"] >= 0)]
    wide = good.pivot_table(index=_BATCH, columns="metric", values="value", sort=False).reset_index()
    both = {"psnr", "predicted_psnr"} <= set(wide.columns)
    return wide.dropna(subset=["psnr", "predicted_psnr"]) if both else wide.iloc[:0]


def draw(request: Request) -> Figure:
    """Draw a panel per type in which gradients are sent, a look per victim and stage, and misses at the bottom."""
    images: Any = images_of(request.measured.frame)
    if images.empty:
        raise InputError(f"figure {request.name}: no image of its experiments has a predicted PSNR")
    victims = list(columns_of("model")) + list(columns_of("stage"))
    looks = {
        victim: (COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)])
        for number, victim in enumerate(dict.fromkeys(images[victims].itertuples(index=False, name=None)))
    }
    precisions = list(dict.fromkeys(images["precision"]))
    figure, panels, columns = grid(len(precisions), 2.2)
    for axes, precision in zip(panels, precisions, strict=True):
        of_type = images[images["precision"] == precision]
        for victim, (colour, marker) in looks.items():
            _points(axes, of_type[(of_type[victims] == list(victim)).all(axis=1)], colour, marker)
        inside = of_type["predicted_psnr"] >= RECOVERED
        missed = inside & (of_type["psnr"] < RECOVERED)
        axes.set_title(f"sent as {precision}\n{int(missed.sum())} of {int(inside.sum())} missed", fontsize=8)
        _frame(axes)
    for axes in panels[::columns]:
        axes.set_ylabel("Measured PSNR (dB)")
    add_legend(figure, _handles(request, images, victims, looks))
    return figure


def _points(axes: Axes, images: Any, colour: str, marker: str) -> None:
    found = images[images["psnr"] >= RECOVERED]
    missed = images[(images["psnr"] < RECOVERED) & (images["predicted_psnr"] >= RECOVERED)]
    look = {"color": colour, "linestyle": "none", "clip_on": False}
    # Without images, an unclipped line would count as one at the corner of the figure, and shift its panels.
    if len(found):
        places = found["predicted_psnr"].clip(lower=_LOW)
        axes.plot(places, found["psnr"], marker=marker, ms=3.2, mew=0, alpha=0.6, **look)
    if len(missed):
        axes.plot(missed["predicted_psnr"], [_MISSES] * len(missed), marker="x", ms=3.6, mew=0.9, alpha=0.8, **look)


def _frame(axes: Axes) -> None:
    axes.plot([_LOW, PSNR_CAP], [_LOW, PSNR_CAP], color="#444444", linewidth=0.8, zorder=1.5)
    axes.axvline(RECOVERED, color="#777777", linestyle=":", linewidth=1.0, zorder=1.5)
    axes.set_xlim(_LOW, PSNR_CAP + 1)
    axes.set_ylim(_LOW, PSNR_CAP + 1)
    ticks = range(int(_LOW), int(PSNR_CAP) + 1, 20)
    axes.set_xticks(ticks)
    axes.set_yticks(ticks)
    axes.set_xlabel("Predicted PSNR (dB)")


def _handles(request: Request, images: Any, victims: list[str], looks: dict[Any, tuple[str, str]]) -> list[Line2D]:
    handles = []
    for victim, (colour, marker) in looks.items():
        first = images[(images[victims] == list(victim)).all(axis=1)].iloc[0].to_dict()
        label = f"{request.labels.model_of(first)}, {request.labels.part(first, 'stage')}"
        handles.append(Line2D([], [], color=colour, marker=marker, linestyle="none", label=label))
    handles.append(Line2D([], [], color="#444444", marker="x", linestyle="none", label="missed"))
    handles.append(Line2D([], [], color="#444444", linewidth=0.8, label="measured = predicted"))
    return handles
