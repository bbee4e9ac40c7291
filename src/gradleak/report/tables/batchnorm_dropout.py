"""BatchNorm and dropout in the victim."""

from gradleak.report.tables.base import Request, Table
from gradleak.report.tables.judged import judged, over

CAPTION = "{attacks} on victims with and without BatchNorm and dropout, observed in evaluation mode."
NOTE = (
    "Dropout is off in evaluation mode, so at the same initialisation a victim with dropout has the weights and the "
    "results of the one without."
)


def build(request: Request) -> Table:
    """Build the table: one line per victim, under the data set and the batch size."""
    groups = over(request, "model", request.labels.model_of)
    return judged(request, list(groups), caption=CAPTION, experiments=("batchnorm_dropout",), note=NOTE)
