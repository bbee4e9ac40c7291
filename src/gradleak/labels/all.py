"""Every label method, registered: import ``build`` and ``names`` from here."""

from gradleak.labels import gi, idlg, ilrg, rlg
from gradleak.labels.base import build, names

__all__ = ["build", "gi", "idlg", "ilrg", "names", "rlg"]
