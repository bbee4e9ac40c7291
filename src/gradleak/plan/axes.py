"""Which options of a job may be axes of an experiment, and how their values are written."""

from typing import Any

from gradleak.plan.catalogue import IMAGE_KINDS
from gradleak.plan.config import Axis, Scalar
from gradleak.plan.jobs.diffusion import DiffusionReconstruct
from gradleak.plan.jobs.images import Reconstruct
from gradleak.plan.jobs.labels import RestoreLabels
from gradleak.plan.names import UNDEFENDED

Run = RestoreLabels | Reconstruct | DiffusionReconstruct

IMAGE_ATTACKS: dict[str, type[Reconstruct] | type[DiffusionReconstruct]] = dict(
    zip(IMAGE_KINDS, (Reconstruct, Reconstruct, DiffusionReconstruct), strict=True)
)
"""Kinds of attacks that reconstruct images, and the options of their jobs."""

CATALOGUE_AXES = ("dataset", "model")
"""Axes that every experiment has; their values are names of the catalogue."""

MOVED = {
    "num_images": "is now called batch_size; the batch size of training, formerly batch_size, is train_batch_size",
    "alpha": "is now an option of label attacks: ilrg: {kind: ilrg, options: {alpha: 0.9}} under attacks",
}
"""Axes of earlier versions, and what replaced them."""

MOVED_IN_PRIORS = {"batch_size": "is now called train_batch_size"}
"""The same for options of priors."""

_NOT_AXES = {"methods", "method", "attack", "checkpoint", "defenses", "metrics", "modules"}


def axes_of(*specs: type[Run]) -> tuple[str, ...]:
    """Return the options shared by these jobs that may be axes; ``defense`` takes names from the catalogue."""
    first, *others = specs
    names = (name for name in first.model_fields if name not in _NOT_AXES and first.is_identity(name))
    return (*(name for name in names if all(name in other.model_fields for other in others)), "defense")


def values_of(axis: Axis) -> list[Scalar | list[str]]:
    """Return the values of an axis; a scalar is an axis of one value."""
    return axis if isinstance(axis, list) else [axis]


def composed(value: Any) -> list[str]:
    """Return the names of the defenses that one value of the axis ``defense`` applies, in order."""
    return [name for name in (value if isinstance(value, list) else [value]) if name != UNDEFENDED]
