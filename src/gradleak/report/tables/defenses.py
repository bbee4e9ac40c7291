"""Label restoration under defenses of every strength, for untrained and trained victims."""

from gradleak.report.tables.base import Request, Table
from gradleak.report.tables.judged import judged, over

CAPTION = "{attacks} against defenses of the last layer's gradient."
NOTE = (
    "Noise: Gaussian with that standard deviation, added to each entry; by itself it does not give differential "
    "privacy. Clipping: bound on the joint L2 norm. Sparsification: percentage of each tensor's entries set to zero, "
    "smallest first. Soteria: percentage of the embedding pruned. a + b: a, then b."
)


def build(request: Request) -> Table:
    """Build the table: one line per defense, under the victim and its stage."""
    groups = over(request, "defense", request.labels.defended)
    return judged(request, list(groups), caption=CAPTION, experiments=("defenses",), note=NOTE)
