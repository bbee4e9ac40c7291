"""What the programs that reconstruct images have in common: a run, its files, and a summary."""

import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from statistics import fmean, median
from typing import TypeVar

from gradleak.image_spec import ImageAttack
from gradleak.images import output
from gradleak.images.experiment import Result
from gradleak.images.results import Reconstruction
from gradleak.lpips_files import weights_digest
from gradleak.provenance import Clock, write_sidecar
from gradleak.records import check_output, write_rows

S = TypeVar("S", bound=ImageAttack)


def execute(spec: S, run: Callable[[S], Result]) -> None:
    """Run an attack, write its results beside ``--output`` or into a new folder, and print a summary.

    Raises:
        InputError: the output cannot be written, or see ``run``.
        SystemExit: of status 130, after all is written, if the user interrupted the attack.
    """
    folder = spec.output.parent if spec.output else spec.save_dir / f"run_{datetime.now():%Y%m%d_%H%M%S}"
    metrics = spec.output or folder / "metrics.csv"
    keep = spec.save or spec.output is not None
    if keep:
        check_output(metrics)
    weights = weights_digest(spec.lpips_weights)
    clock = Clock(spec.KIND)
    result = run(spec)
    if spec.save and result.reconstructions:
        output.write_contact_sheet(folder / "contact.png", result.reconstructions)
        output.write_traces(folder / "trace.csv", result.reconstructions)
        output.write_arrays(folder / "images.npz", result.reconstructions)
        output.write_images(folder / "images", result.reconstructions)
    if keep:
        extra = {"interrupted": result.interrupted, "lpips": weights}
        write_sidecar(metrics.with_name("run.json"), spec, clock, run=spec.run_id, device=result.device, **extra)
        write_rows(metrics, result.rows)
    aggregates = [made for made in result.reconstructions if made.client < 0]
    clients = [made for made in result.reconstructions if made.client >= 0]
    for mode, found in (("client", clients), ("aggregate", aggregates)):
        if found:
            print(f"{mode:<10}{summary(found)}")
    if result.interrupted:
        print("interrupted: these are the best reconstructions so far", file=sys.stderr)
    if keep:
        print(f"results: {folder}", file=sys.stderr)
    if result.interrupted:
        sys.exit(130)  # a workflow must not take it for a finished run


def summary(found: Sequence[Reconstruction]) -> str:
    """Return mean PSNR (dB), SSIM and label accuracy over the images, and how many batches and starts failed."""
    good = [made for made in found if not made.failed]
    lost = sum(made.diverged for made in found)
    counts = f"({len(good)} of {len(found)} batches, {lost} restarts diverged)"
    if not good:
        return counts
    values = {
        name: [float(value) for made in good for value in made.metrics[name]]
        for name in ("psnr", "ssim", "label_accuracy")
    }
    means = "  ".join(f"{name} {fmean(numbers):.3f}" for name, numbers in values.items())
    return f"{means}  median psnr {median(values['psnr']):.2f} dB  {counts}"
