"""Recovery of class-wise embeddings, logits and probabilities: their cosines to the truth."""

from gradleak.report.tables.base import Request, Table
from gradleak.report.tables.judged import Group, judged

CAPTION = "Cosine similarity between the class-wise means that {attacks} recovered and the true ones."
METRICS = {"embedding_cosine": "Embedding", "output_cosine": "Logits", "probability_cosine": "Probabilities"}


def build(request: Request) -> Table:
    """Build the table: one line per setting, under the data set."""
    cells = request.measured.cells()
    labels = request.labels
    groups = [
        Group(
            labels.dataset.get(dataset, dataset),
            [(labels.setting(cell, without=("dataset",)), cell) for cell in cells if cell["dataset"] == dataset],
        )
        for dataset in dict.fromkeys(cell["dataset"] for cell in cells)
    ]
    published = ("probability_cosine", "trained_models", "error_analysis")
    return judged(request, groups, caption=CAPTION, experiments=published, metrics=list(METRICS), headers=METRICS)
