"""Reconstruct clients' images from the gradients that they share.

Each round, every client computes the gradient of its images on the server's model; the server matches it, or the
mean of all, by the gradient of images that it optimises. Results: a long metrics CSV, run.json, loss traces, images.
"""

import sys
from collections.abc import Sequence
from datetime import datetime
from statistics import fmean, median

from gradleak import cli
from gradleak.image_spec import Reconstruct
from gradleak.shorthand import ReconstructShorthand


def main(argv: Sequence[str]) -> None:
    """Run image reconstruction for the options in ``argv``."""
    spec = cli.parse(Reconstruct, argv, shorthand=ReconstructShorthand, prog="reconstruct.py", description=__doc__)
    # Imported only now: --help and a wrong option answer at once.
    from gradleak.images import output
    from gradleak.images.experiment import run
    from gradleak.provenance import Clock, write_sidecar
    from gradleak.records import check_output, write_rows

    folder = spec.output.parent if spec.output else spec.save_dir / f"run_{datetime.now():%Y%m%d_%H%M%S}"
    metrics = spec.output or folder / "metrics.csv"
    if spec.output or spec.save:
        check_output(metrics)
    clock = Clock()
    result = run(spec)
    if spec.save and result.reconstructions:
        output.write_contact_sheet(folder / "contact.png", result.reconstructions)
        output.write_traces(folder / "trace.csv", result.reconstructions)
        output.write_arrays(folder / "images.npz", result.reconstructions)
        output.write_images(folder / "images", result.reconstructions)
    if spec.save or spec.output:
        extra = {"interrupted": result.interrupted}
        write_sidecar(metrics.with_name("run.json"), spec, clock, run=spec.run_id, device=result.device, **extra)
        write_rows(metrics, result.rows)
    for mode in ("client", "aggregate"):
        found = [made for made in result.reconstructions if (made.client < 0) == (mode == "aggregate")]
        good = [made for made in found if made.loss < float("inf")]
        if not found:
            continue
        shown = {
            what: [float(value) for made in good for value in made.metrics[what]]
            for what in ("psnr", "ssim", "label_accuracy")
        }
        means = "  ".join(f"{what} {fmean(values):.3f}" for what, values in shown.items() if values)
        middle = f"  median psnr {median(shown['psnr']):.2f} dB" if shown["psnr"] else ""
        dropped = sum(made.diverged for made in found)
        print(f"{mode:<10}{means}{middle}  ({len(good)} of {len(found)} batches, {dropped} restarts diverged)")
    if result.interrupted:
        print("interrupted: these are the best reconstructions so far", file=sys.stderr)
    if spec.save or spec.output:
        print(f"results: {folder}", file=sys.stderr)


if __name__ == "__main__":
    cli.run(main)
