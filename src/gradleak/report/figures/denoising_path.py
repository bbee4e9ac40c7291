"""Pictures: one image during the denoising, per attack."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from gradleak.errors import InputError
from gradleak.records import CELL, is_attack
from gradleak.report.figures.base import Request
from gradleak.report.figures.pictures import Block, drawn, read_archive
from gradleak.report.image_rows import DIFFUSION, only_images
from gradleak.report.statistics import applicable

_STEPS = 4
"""Largest number of iterates of a path to show, besides the original and the result."""


def draw(request: Request) -> Figure:
    """Draw a block per setting with a row per attack that has a prior."""
    frame: Any = applicable(only_images(request.measured.frame, (DIFFUSION,)))
    attacked = frame[frame["method"].map(is_attack).astype(bool)]
    blocks = []
    for cell, of_cell in attacked.groupby(list(CELL), sort=False):
        setting: dict[str, Any] = dict(zip(CELL, cell, strict=True))
        paths = {}
        for method, of_method in of_cell.groupby("method", sort=False):
            run = str(of_method.sort_values("model_seed", kind="stable")["run"].iloc[0])
            if run not in request.images and request.draft:
                continue
            archive = read_archive(request, run, ("truth", "guess", "client", "path", "path_at"))
            # An archive has the path of its first batch, which is an aggregate only if no client was attacked alone.
            if (archive["client"][0] < 0) == bool(setting["aggregated"]):
                paths[request.labels.method.get(str(method), str(method))] = archive
        if paths:
            blocks.append(_block(request.labels.setting(setting), paths))
    if not blocks:
        raise InputError(f"figure {request.name}: its experiments have no run with a diffusion prior")
    return drawn(blocks)


def _block(heading: str, paths: dict[str, dict[str, NDArray[Any]]]) -> Block:
    """Show the steps at which all attacks have a snapshot, evenly thinned out."""
    common = sorted(set.intersection(*(set(archive["path_at"].tolist()) for archive in paths.values())))
    picked = [common[int(i)] for i in np.linspace(0, len(common) - 1, min(_STEPS, len(common))).round()]
    rows = []
    for label, archive in paths.items():
        at = archive["path_at"].tolist()
        steps = [archive["path"][at.index(step)] for step in picked]
        rows.append((label, np.stack([archive["truth"][0], *steps, archive["guess"][0]])))
    return Block(heading, rows, ("original", *map(str, picked), "result"))
