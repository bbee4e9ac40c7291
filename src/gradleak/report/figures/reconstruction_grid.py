"""Pictures: the originals of a setting above the reconstructions of every attack."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from gradleak.errors import InputError
from gradleak.records import CELL, is_attack
from gradleak.report.figures.base import Request
from gradleak.report.figures.pictures import Block, Pixels, drawn, read_archive
from gradleak.report.image_rows import only_images
from gradleak.report.statistics import applicable

MOST = 8
"""Largest number of images of a setting to show: the first ones."""


def draw(request: Request) -> Figure:
    """Draw a block per setting: the originals, then a row per attack."""
    blocks = _blocks(request)
    if not blocks:
        raise InputError(f"figure {request.name}: its experiments have no reconstructed images")
    return drawn(blocks)


def _blocks(request: Request) -> list[Block]:
    """Read the archives of the first initialisation of every setting and attack."""
    frame: Any = applicable(only_images(request.measured.frame))
    attacked = frame[frame["method"].map(is_attack)]
    blocks: list[Block] = []
    for cell_values, of_cell in attacked.groupby(list(CELL), sort=False):
        cell: dict[str, Any] = dict(zip(CELL, cell_values, strict=True))
        rows: list[tuple[str, Pixels]] = []
        truth: Pixels | None = None
        first = ""
        for method, of_method in of_cell.groupby("method", sort=False):
            run = str(of_method.sort_values("model_seed", kind="stable")["run"].iloc[0])
            if run not in request.images and request.draft:
                continue
            originals, guess = _read(request, run, aggregated=bool(cell["aggregated"]))
            if truth is None:
                truth, first = originals, run
                rows.append(("original", truth[:MOST]))
            if not np.array_equal(truth, originals):
                raise InputError(
                    f"figure {request.name}: runs {first} and {run} have one setting but attacked different images, or "
                    "in another order; delete the older one and run it again"
                )
            rows.append((request.labels.method.get(str(method), str(method)), guess[:MOST]))
        if rows:
            blocks.append(Block(request.labels.setting(cell), rows))
    return blocks


def _read(request: Request, run: str, *, aggregated: bool) -> tuple[Pixels, Pixels]:
    """Return the originals and reconstructions of a run's clients, or of its aggregates.

    Raises:
        InputError: see :func:`read_archive`; or there are no images of that kind.
    """
    archive = read_archive(request, run, ("truth", "guess", "client"))
    truth, guess = archive["truth"], archive["guess"]
    chosen = (archive["client"] < 0) == aggregated
    if truth.shape != guess.shape or truth.ndim != 4 or not chosen.any():
        raise InputError(f"{request.images[run]}: does not hold the images of the setting; delete it and run again")
    return truth[chosen], guess[chosen]
