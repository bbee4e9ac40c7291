"""Reconstruct clients' images from the gradients that they share.

Each round, every client computes the gradient of its images on the server's model; the server optimises images until
their gradient matches it, or the mean over the clients. Results: a long metrics CSV, run.json, loss traces, images.
"""

from collections.abc import Sequence

from gradleak.plan import cli, plugins
from gradleak.plan.aliases import ReconstructShorthand
from gradleak.plan.jobs.images import Reconstruct


def main(argv: Sequence[str]) -> None:
    """Run image reconstruction for the options in ``argv``."""
    spec = cli.parse(Reconstruct, argv, shorthand=ReconstructShorthand, description=__doc__)
    # Imported only now, so that --help and wrong options answer at once.
    from gradleak.runs.image_job import execute
    from gradleak.runs.images import run

    plugins.load(spec.modules)
    execute(spec, run)
