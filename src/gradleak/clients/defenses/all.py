"""Every defense, registered: import ``build``, ``names`` and ``apply`` from here."""

from gradleak.clients.defenses import clip, dp, perturb, sparse
from gradleak.clients.defenses.base import DefenseContext, apply, build, names

__all__ = ["DefenseContext", "apply", "build", "clip", "dp", "names", "perturb", "sparse"]
