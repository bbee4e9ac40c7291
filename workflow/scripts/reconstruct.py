"""Reconstruct clients' images from the gradients that they share.

Each round, every client computes the gradient of its images on the server's model; the server matches it, or the
mean of all, by the gradient of images that it optimises. Results: a long metrics CSV, run.json, loss traces, images.
"""

from collections.abc import Sequence

from gradleak import cli, plugins
from gradleak.image_spec import Reconstruct
from gradleak.shorthand import ReconstructShorthand


def main(argv: Sequence[str]) -> None:
    """Run image reconstruction for the options in ``argv``."""
    spec = cli.parse(Reconstruct, argv, shorthand=ReconstructShorthand, prog="reconstruct.py", description=__doc__)
    # Imported only now: --help and a wrong option answer at once.
    from gradleak.images.experiment import run
    from gradleak.images.job import execute

    plugins.load(spec.modules)
    execute(spec, run)


if __name__ == "__main__":
    cli.run(main)
