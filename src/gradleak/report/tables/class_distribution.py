"""How the classes of a batch are distributed: one class, balanced classes, one image each, random counts."""

from gradleak.report.tables.base import Request, Table
from gradleak.report.tables.judged import judged, over

CAPTION = "{attacks} over the distribution of classes in a batch."


def build(request: Request) -> Table:
    """Build the table: one line per distribution, under the victim and the batch size."""
    groups = over(request, "distribution", lambda cell: request.labels.part(cell, "distribution"))
    return judged(request, list(groups), caption=CAPTION, experiments=("class_distribution",))
