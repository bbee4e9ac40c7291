"""Batches almost entirely of one class: how many instances of each class are restored."""

from typing import Any

from gradleak.plan.distributions import CUSTOM, CUSTOM_CLASSES
from gradleak.report.tables.base import WITHHELD, Request, Table, plain
from gradleak.report.tables.judged import Further, judged, over

CAPTION = "{attacks} on extreme batches."
NOTE = (
    "Custom imbalanced: 1, B − 2 and 1 images of the classes 0, 18 and 92. Instances: mean restored number of these "
    "three, to be compared with 1, B − 2 and 1. Extreme: all images of one random class."
)
_COUNTS = tuple(f"restored_class_{c}" for c in CUSTOM_CLASSES)


def build(request: Request) -> Table:
    """Build the table: one line per batch size, under the victim and its stage."""
    groups = over(request, "batch_size", lambda cell: f"B={cell['batch_size']}", lambda cell: cell["batch_size"])
    measured = request.measured

    def instances(cell: dict[str, Any], method: str) -> tuple[str, dict[str, Any]]:
        counts = [measured.value(cell, method, name) for name in _COUNTS]
        known = all(value.n_trials for value in counts)
        withheld = "—" if measured.tried(cell, method) else WITHHELD
        shown = " / ".join(map(plain, counts)) if known else withheld
        return shown, {name: value.mean for name, value in zip(_COUNTS, counts, strict=True)}

    cells = measured.cells()
    custom = any(cell["distribution"] in CUSTOM for cell in cells)
    return judged(
        request,
        list(groups),
        caption=CAPTION,
        experiments=("extreme_distribution",),
        further=[Further("Instances", instances)] if custom else [],
        note=NOTE,
    )
