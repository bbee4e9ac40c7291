"""Reconstruct clients' images from their gradients while a diffusion prior denoises each iterate.

Results are those of reconstruct.py: a long metrics CSV, run.json, traces of the matching loss, images.
"""

from collections.abc import Sequence

from gradleak import cli, plugins
from gradleak.diffusion_spec import DiffusionReconstruct
from gradleak.shorthand import FederatedShorthand


def main(argv: Sequence[str]) -> None:
    """Run diffusion-guided reconstruction for the options in ``argv``."""
    prog = "diffusion_reconstruct.py"
    spec = cli.parse(DiffusionReconstruct, argv, shorthand=FederatedShorthand, prog=prog, description=__doc__)
    # Imported only now: --help and a wrong option answer at once.
    from gradleak.diffusion.experiment import run
    from gradleak.images.job import execute

    plugins.load(spec.modules)
    execute(spec, run)


if __name__ == "__main__":
    cli.run(main)
