"""Two estimates of the embedding from one gradient: that of a label attack, and Soteria's row."""

from gradleak.report.tables.base import Request, Table
from gradleak.report.tables.judged import judged, over
from gradleak.report.tables.training_stage import stage_order

CAPTION = (
    "The embedding that {attacks} recovered, and the one that Soteria's analysis reads from the same gradient, dW[c] "
    "itself, against the true class-wise mean."
)
HEADERS = {
    "embedding_mse": "MSE ({attack})",
    "soteria_embedding_mse": "MSE (Soteria)",
    "embedding_cosine": "Cosine ({attack})",
    "soteria_embedding_cosine": "Cosine (Soteria)",
}


def build(request: Request) -> Table:
    """Build the table: one line per stage, under the victim and the batch size."""
    groups = over(request, "stage", lambda cell: request.labels.part(cell, "stage"), stage_order)
    return judged(
        request,
        list(groups),
        caption=CAPTION,
        experiments=("error_analysis",),
        metrics=list(HEADERS),
        headers=HEADERS,
    )
