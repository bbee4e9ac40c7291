"""Train a small diffusion prior (UNet2DModel, DDPM) on images that no client holds.

Writes a diffusers folder for --prior of a diffusion-guided reconstruction, with samples, losses and the list of images
that it was trained on.
"""

import sys
from collections.abc import Sequence

from gradleak.plan import cli, plugins
from gradleak.plan.aliases import PlacesShorthand
from gradleak.plan.jobs.diffusion import TrainPrior


def main(argv: Sequence[str]) -> None:
    """Train the prior for the options in ``argv``."""
    spec = cli.parse(TrainPrior, argv, shorthand=PlacesShorthand, description=__doc__)
    # Imported only now, so that --help and wrong options answer at once.
    from gradleak.attacks.diffusion.train import train
    from gradleak.records import check_output, check_place, write_text

    check_place(spec.folder / "prior.json", f"--prior-dir {spec.prior_dir}")
    if spec.output is not None:
        check_output(spec.output)
    plugins.load(spec.modules)
    trained = train(spec)
    if spec.output is not None:
        write_text(spec.output, (trained.folder / "loss.csv").read_text(encoding="utf-8"))
    print(f"prior of {trained.images} images  loss {trained.loss:.4f}")
    print(f"prior: {trained.folder}", file=sys.stderr)
