"""Shared code of the programs that reconstruct images: a run, its files, and a summary."""

import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from statistics import fmean, median
from typing import TypeVar

from gradleak import interrupts
from gradleak.errors import InputError
from gradleak.plan.code import code_of
from gradleak.plan.jobs.images import ImageAttack
from gradleak.plan.lpips_files import weights_digest
from gradleak.provenance import Clock, write_results
from gradleak.records import NOT_APPLICABLE, OK, check_output, check_place
from gradleak.runs import image_output as output
from gradleak.runs.image_results import Reconstruction
from gradleak.runs.images import Result

S = TypeVar("S", bound=ImageAttack)


def execute(spec: S, run: Callable[[S], Result]) -> None:
    """Run an attack, write its results beside ``--output`` or into a new folder, and print a summary.

    Raises:
        InputError: the output cannot be written; or see ``run``.
        KeyboardInterrupt: the attack was interrupted before it had anything to write.
        SystemExit: of status 130 or 143, after all is written, if the attack was interrupted.
    """
    keep = spec.save or spec.output is not None
    if spec.output is not None:
        check_output(spec.output)
    elif keep:
        check_place(spec.save_dir / "run" / "metrics.csv", f"--save-dir {spec.save_dir}")
    weights = weights_digest(spec.lpips_weights)
    clock = Clock(code_of(spec))
    result = run(spec)
    if result.interrupted and not any(len(made.trace) for made in result.reconstructions):
        raise KeyboardInterrupt  # interrupted before the first iteration
    folder = None
    if keep:
        with interrupts.held():  # a second signal must not separate the metrics from the images
            folder = _write(spec, result, clock, weights)
    aggregates = [made for made in result.reconstructions if made.client < 0]
    clients = [made for made in result.reconstructions if made.client >= 0]
    for mode, group in (("client", clients), ("aggregate", aggregates)):
        if group:
            print(f"{mode:<10}{summary(group)}")
    if result.interrupted:
        print("interrupted: these are the best reconstructions so far", file=sys.stderr)
    if folder is not None:
        print(f"results: {folder}", file=sys.stderr)
    if result.interrupted:
        sys.exit(interrupts.status())  # a workflow must not mistake it for a finished run


def _write(spec: ImageAttack, result: Result, clock: Clock, weights: str | None) -> Path:
    """Write all files of a run and return their folder."""
    metrics = (
        spec.output or new_folder(spec.save_dir, f"run_{clock.started.astimezone():%Y%m%d_%H%M%S}") / "metrics.csv"
    )
    folder = metrics.parent
    try:
        _write_files(metrics, spec, result, clock, weights)
    except BaseException:
        if spec.output is None:
            with suppress(OSError):  # not empty, so something was written
                folder.rmdir()
        raise
    return folder


def _write_files(metrics: Path, spec: ImageAttack, result: Result, clock: Clock, weights: str | None) -> None:
    folder = metrics.parent
    if spec.save and result.reconstructions:
        output.write_contact_sheet(folder / "contact.png", result.reconstructions)
        output.write_traces(folder / "trace.csv", result.reconstructions)
        output.write_arrays(folder / "images.npz", result.reconstructions)
        output.write_images(folder / "images", result.reconstructions)
        if any(made.inputs is not None for made in result.reconstructions):
            output.write_inputs(folder / "inputs.npz", result.reconstructions)
    extra = {"interrupted": result.interrupted, "lpips": weights}
    write_results(metrics, result.rows, spec, clock, run=spec.run_id, device=result.device, **extra)


def new_folder(parent: Path, name: str) -> Path:
    """Create a folder that no other process uses, and return it: ``name``, else ``name-2``, ``name-3``, ...

    Raises:
        InputError: it cannot be created.
    """
    folder, number = parent / name, 1
    try:
        parent.mkdir(parents=True, exist_ok=True)
        while True:
            try:
                folder.mkdir()  # only one process succeeds, even on a shared disk
                return folder
            except FileExistsError:
                number += 1
                folder = parent / f"{name}-{number}"
    except OSError as error:
        raise InputError(f"{parent}: cannot be written: {error.strerror}") from error


def summary(reconstructions: Sequence[Reconstruction]) -> str:
    """Return mean PSNR (dB), SSIM and label accuracy over the images, and the numbers of failed batches and starts."""
    good = [made for made in reconstructions if made.status == OK]
    lost = sum(made.diverged for made in reconstructions)
    unmade = sum(made.status == NOT_APPLICABLE for made in reconstructions)
    more = f", {unmade} not applicable" if unmade else ""
    counts = f"({len(good)} of {len(reconstructions)} batches, {lost} restarts diverged{more})"
    if not good:
        return counts
    values = {
        name: [float(value) for made in good for value in made.metrics[name]]
        for name in ("psnr", "ssim", "label_accuracy")
    }
    means = "  ".join(f"{name} {fmean(numbers):.3f}" for name, numbers in values.items())
    return f"{means}  median psnr {median(values['psnr']):.2f} dB  {counts}"
