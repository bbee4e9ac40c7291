"""Every table, registered: import ``build`` and ``kinds`` from here."""

from gradleak.tables import agreement, batch_size_and_depth, comparison
from gradleak.tables.base import build, kinds

__all__ = ["agreement", "batch_size_and_depth", "build", "comparison", "kinds"]
