"""Label restoration over the training of the victim, beside the victim's own accuracy."""

from typing import Any

from gradleak.report.tables.base import Request, Table, plain
from gradleak.report.tables.judged import Further, judged, over

CAPTION = (
    "{attacks} over the training of the victim. Each stage is a training of its own length, as in the released code."
)
NOTE = "Victim: its accuracy on the validation images."


def stage_order(cell: dict[str, Any]) -> tuple[str, int]:
    """Sort stages: untrained, then by length."""
    return cell["stage_unit"], cell["stage_number"]


def build(request: Request) -> Table:
    """Build the table: one line per stage, under the victim and the batch size."""
    groups = over(request, "stage", lambda cell: request.labels.part(cell, "stage"), stage_order)

    def accuracy(cell: dict[str, Any], _: str) -> tuple[str, dict[str, Any]]:
        value = request.measured.value(cell, "victim", "accuracy")
        shown = plain(value) if cell["stage_unit"] else "—"
        return shown, {"victim_accuracy": value.mean, "victim_accuracy_sd": value.sd}

    return judged(
        request,
        list(groups),
        caption=CAPTION,
        experiments=("training_stage", "trained_models"),
        further=[Further("Victim", accuracy, of_attack=False)],
        note=NOTE,
    )
