"""Reconstruct clients' images from their gradients while a diffusion prior denoises each iterate.

Results are as without a prior: a long metrics CSV, run.json, traces of the matching loss, images.
"""

from collections.abc import Sequence

from gradleak.plan import cli, plugins
from gradleak.plan.aliases import FederatedShorthand
from gradleak.plan.jobs.diffusion import DiffusionReconstruct


def main(argv: Sequence[str]) -> None:
    """Run diffusion-guided reconstruction for the options in ``argv``."""
    spec = cli.parse(DiffusionReconstruct, argv, shorthand=FederatedShorthand, description=__doc__)
    # Imported only now, so that --help and wrong options answer at once.
    from gradleak.runs.diffusion import run
    from gradleak.runs.image_job import execute

    plugins.load(spec.modules)
    execute(spec, run)
