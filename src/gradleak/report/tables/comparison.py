"""Experiment 1: iLRG beside iDLG, GI and RLG, measured beside published, with the floor of each accuracy."""

import pandas as pd

from gradleak.report.tables.base import (
    RANGE_NOTE,
    Column,
    Line,
    Request,
    Table,
    numeric_cell,
    numeric_value,
    plain,
    tries,
    with_confidence,
)

_PUBLISHED = ("comparison", "probability_cosine")
_FLOOR = "floor-blank"
_SHOWN = (
    ("ilrg", "leacc", "LeAcc"),
    ("ilrg", "lnacc", "LnAcc"),
    ("ilrg", "irec", "IRec"),
    ("ilrg", "probability_cosine", "Prob. cos."),
    ("idlg", "leacc", "LeAcc"),
    ("gi", "leacc", "LeAcc"),
    ("rlg", "leacc", "LeAcc"),
)
_FLOORED = ("leacc", "lnacc", "irec")

CAPTION = (
    "Label restoration by iLRG and by prior works, measured beside published. LeAcc: share of classes whose "
    "presence is right; LnAcc: share of classes whose count is right; IRec: share of instances recovered; "
    "Prob. cos.: cosine of recovered and true class-wise mean probabilities."
)
NOTE = (
    "Measured: mean [low, high], the 95 % confidence interval of the mean between initialisations (between tries "
    f"where there is one initialisation). {RANGE_NOTE}n: initialisations × tries. Blank answer: what the answer “no "
    "class is present” scores. Published: mean over the tries of one initialisation; (B=…): published for that "
    "batch size only; figures parted by a stroke come from several logs of one setting; —: not published for "
    "this victim."
)


def build(request: Request) -> Table:
    """Build the table: three lines per setting (measured, published, blank answer), one column per figure."""
    measured, labels = request.measured, request.labels
    request.check([(method, metric) for method, metric, _ in _SHOWN] + [(_FLOOR, metric) for metric in _FLOORED])
    lines: list[Line] = []
    numbers = []
    for cell in measured.cells():
        pairs = [request.find(cell, method, metric, _PUBLISHED) for method, metric, _ in _SHOWN]
        floor = {metric: measured.value(cell, _FLOOR, metric) for metric in _FLOORED}
        where = labels.where(cell)
        model = labels.model.get(cell["model"], cell["model"])
        dataset = labels.dataset.get(cell["dataset"], cell["dataset"])
        lines += [
            Line(
                (model, str(cell["batch_size"]), "measured", *(with_confidence(v) for v, _ in pairs)),
                rule=True,
            ),
            Line((dataset, tries(pairs[0][0]), "published", *(found.text() for _, found in pairs))),
            Line(
                (
                    where,
                    "",
                    "blank answer",
                    *(plain(floor[metric]) if metric in floor else "" for _, metric, _ in _SHOWN),
                )
            ),
        ]
        row = numeric_cell(cell)
        for (method, metric, _), (value, found) in zip(_SHOWN, pairs, strict=True):
            row |= numeric_value(f"{method}_{metric}", value, found)
        row |= {f"floor_blank_{metric}": value.mean for metric, value in floor.items()}
        numbers.append(row)
    columns = [Column("Victim, data", align="l"), Column("B, n"), Column("", align="l")]
    columns += [Column(header, labels.method.get(method, method)) for method, _, header in _SHOWN]
    return Table(CAPTION, NOTE, tuple(columns), tuple(lines), pd.DataFrame(numbers))
