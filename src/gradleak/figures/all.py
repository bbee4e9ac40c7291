"""Every figure, registered: import ``build``, ``find`` and ``kinds`` from here."""

from gradleak.figures import accuracy_over_batch, accuracy_over_defenses, accuracy_over_stage
from gradleak.figures.base import build, find, kinds

__all__ = ["accuracy_over_batch", "accuracy_over_defenses", "accuracy_over_stage", "build", "find", "kinds"]
