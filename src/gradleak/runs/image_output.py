"""Files of a reconstruction besides its metrics: images, contact sheets, loss traces."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from gradleak.pictures import sheet, to_uint8, write_image, write_png
from gradleak.records import whole_file
from gradleak.runs.image_results import Reconstruction


def name(made: Reconstruction) -> str:
    """Return the name of a batch for files, e.g. ``round0_client1`` or ``round0_aggregated``."""
    return f"round{made.trial}_" + ("aggregated" if made.client < 0 else f"client{made.client}")


def write_contact_sheet(path: Path, reconstructions: Sequence[Reconstruction]) -> None:
    """Write the originals of all batches above their reconstructions."""
    originals, guesses = (
        torch.cat(images) for images in zip(*((made.truth, made.guess) for made in reconstructions), strict=True)
    )
    write_png(path, to_uint8(sheet([originals, guesses])))


def write_traces(path: Path, reconstructions: Sequence[Reconstruction]) -> None:
    """Write the matching losses: trial, client (-1: the aggregate), restart, iteration, loss (empty: diverged)."""
    with whole_file(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("trial", "client", "restart", "iteration", "loss"))
        for made in reconstructions:
            for restart in range(made.trace.shape[1]):
                for iteration, loss in enumerate(made.trace[:, restart].tolist(), start=1):
                    shown = "" if loss != loss else f"{loss:.6g}"
                    writer.writerow((made.trial, made.client, restart, iteration, shown))


def write_arrays(path: Path, reconstructions: Sequence[Reconstruction]) -> None:
    """Write images and labels of all batches as one NumPy archive, for figures.

    It holds ``truth`` and ``guess`` [N, h, w, c] uint8, and ``true_labels``, ``labels``, ``trial``, ``client`` [N];
    of the first image also its snapshots ``path`` [S, h, w, c] uint8 and their iterations ``path_at`` [S].
    """
    first = reconstructions[0]
    iterates = torch.stack([first.guess[0], *(shown[0] for shown in first.snapshots.values())])[1:]
    sizes = [len(made.truth) for made in reconstructions]
    with whole_file(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(
            file,
            truth=to_uint8(torch.cat([made.truth for made in reconstructions])),
            guess=to_uint8(torch.cat([made.guess for made in reconstructions])),
            true_labels=torch.cat([made.true_labels for made in reconstructions]).numpy(),
            labels=torch.cat([made.labels for made in reconstructions]).numpy(),
            trial=np.repeat([made.trial for made in reconstructions], sizes),
            client=np.repeat([made.client for made in reconstructions], sizes),
            path=to_uint8(iterates),
            path_at=np.array(list(first.snapshots), dtype=np.int64),
        )


def write_inputs(path: Path, reconstructions: Sequence[Reconstruction]) -> None:
    """Write what exact inversion found in place of images: one array [k, d] per batch, by its name, float64."""
    arrays = {name(made): made.inputs.numpy() for made in reconstructions if made.inputs is not None}
    with whole_file(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)  # pyright: ignore[reportArgumentType]


def write_images(folder: Path, reconstructions: Sequence[Reconstruction]) -> None:
    """Write every image and, per batch, a sheet of the snapshots: the originals, then one row per iteration logged."""
    for made in reconstructions:
        for number, (original, guess) in enumerate(zip(made.truth, made.guess, strict=True)):
            write_image(folder / f"{name(made)}_image{number}_original.png", original)
            write_image(folder / f"{name(made)}_image{number}_reconstructed.png", guess)
        rows = [made.truth, *made.snapshots.values(), made.guess]
        write_png(folder / f"{name(made)}_snapshots.png", to_uint8(sheet(rows)))
