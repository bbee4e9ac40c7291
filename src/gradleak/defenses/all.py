"""Every defense, registered: import ``build``, ``names`` and ``apply`` from here."""

from gradleak.defenses import clip, dp, perturb, sparse
from gradleak.defenses.base import DefenseContext, apply, build, names

__all__ = ["DefenseContext", "apply", "build", "clip", "dp", "names", "perturb", "sparse"]
