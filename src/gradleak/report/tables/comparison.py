"""Experiment 1: label attacks compared, measured beside published, with the floor of each accuracy."""

import pandas as pd

from gradleak.plan import metric_facts
from gradleak.report.attacks import BLANK
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
_METRICS = {
    "leacc": "LeAcc: share of classes whose presence is right",
    "lnacc": "LnAcc: share of classes whose count is right",
    "irec": "IRec: share of instances recovered",
    "probability_cosine": "Prob. cos.: cosine of recovered and true class-wise mean probabilities",
}
"""The table's own metrics, with their explanations for the caption."""
NOTE = (
    "Measured: mean [low, high], the 95 % confidence interval of the mean between initialisations (between tries "
    f"if there is only one initialisation). {RANGE_NOTE}n: initialisations × tries. Blank answer: score of the answer "
    "“no class is present”. Published: mean over the tries of one initialisation; (B=…): published for that "
    "batch size only; figures separated by a slash come from several logs of one setting; —: not published for "
    "this victim."
)


def build(request: Request) -> Table:
    """Build the table: three lines per setting (measured, published, blank answer), one column per figure."""
    measured, labels = request.measured, request.labels
    metrics = request.metrics or tuple(_METRICS)
    attacks = request.attacks(metrics)
    shown = [(method, metric) for method, has in attacks.items() for metric in has]
    floored = [metric for metric in metrics if metric in measured.metrics.get(BLANK, ())]
    lines: list[Line] = []
    numbers = []
    for cell in measured.cells():
        pairs = [request.find(cell, method, metric, _PUBLISHED) for method, metric in shown]
        ran = [measured.ran(cell, method) for method, _ in shown]
        if not any(ran):
            continue
        floor = {metric: measured.value(cell, BLANK, metric) for metric in floored}
        where = labels.where(cell)
        model = labels.model_of(cell)
        dataset = labels.dataset_of(cell)
        values = [with_confidence(value) if asked else "—" for (value, _), asked in zip(pairs, ran, strict=True)]
        blanks = [plain(floor[metric]) if metric in floor else "" for _, metric in shown]
        n = tries(pairs[ran.index(True)][0])
        lines += [
            Line((model, str(cell["batch_size"]), "measured", *values), rule=True),
            Line((dataset, n, "published", *(published.text() for _, published in pairs))),
            Line((where, "", "blank answer", *blanks)),
        ]
        row = numeric_cell(cell)
        for (method, metric), (value, published) in zip(shown, pairs, strict=True):
            row |= numeric_value(f"{method}_{metric}", value, published)
        row |= {f"floor_blank_{metric}": value.mean for metric, value in floor.items()}
        numbers.append(row)
    columns = [Column("Victim, data", align="l"), Column("B, n"), Column("", align="l")]
    for method, metric in shown:
        title = metric_facts.label(metric)
        columns.append(Column(title[0].upper() + title[1:], labels.method.get(method, method)))
    words = [_METRICS[metric] for metric in _METRICS if any(metric in has for has in attacks.values())]
    caption = f"Label restoration by {request.named(attacks)}, measured beside published. {'; '.join(words)}".strip()
    caption = caption.removesuffix(".") + "."
    return Table(caption, NOTE, tuple(columns), tuple(lines), pd.DataFrame(numbers))
