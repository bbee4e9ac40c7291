"""Reconstruct clients' images from their gradients while a diffusion prior denoises each iterate.

Results are as in reconstruct.py: a long metrics CSV, run.json, traces of the matching loss, images.
"""

from collections.abc import Sequence

from gradleak.plan import cli, plugins
from gradleak.plan.aliases import FederatedShorthand
from gradleak.plan.jobs.diffusion import DiffusionReconstruct


def main(argv: Sequence[str]) -> None:
    """Run diffusion-guided reconstruction for the options in ``argv``."""
    prog = "diffusion_reconstruct.py"
    spec = cli.parse(DiffusionReconstruct, argv, shorthand=FederatedShorthand, prog=prog, description=__doc__)
    # Imported only now, so that --help and wrong options answer at once.
    from gradleak.runs.diffusion import run
    from gradleak.runs.image_job import execute

    plugins.load(spec.modules)
    execute(spec, run)


if __name__ == "__main__":
    cli.run(main)
