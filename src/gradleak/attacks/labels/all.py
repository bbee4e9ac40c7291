"""Every label method, registered: import ``build`` and ``names`` from here."""

from gradleak.attacks.labels import gi, idlg, ilrg, rlg
from gradleak.attacks.labels.base import build, names

__all__ = ["build", "gi", "idlg", "ilrg", "names", "rlg"]
