"""Every table, registered: import ``build`` and ``kinds`` from here."""

from gradleak.report.tables import (
    agreement,
    batch_size_and_depth,
    batchnorm_dropout,
    class_distribution,
    comparison,
    defenses,
    error_analysis,
    extreme_distribution,
    probability_cosine,
    reconstruction,
    soteria_embedding,
    training_stage,
)
from gradleak.report.tables.base import build, kinds

__all__ = [
    "agreement",
    "batch_size_and_depth",
    "batchnorm_dropout",
    "build",
    "class_distribution",
    "comparison",
    "defenses",
    "error_analysis",
    "extreme_distribution",
    "kinds",
    "probability_cosine",
    "reconstruction",
    "soteria_embedding",
    "training_stage",
]
