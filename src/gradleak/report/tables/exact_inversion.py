"""Exact inversion beside the estimates: what is certified of a batch, and how right each attack is, by setting."""

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

_METRICS = ("certified", "exact_match", "leacc", "lnacc", "irec", "seconds")
NOTE = (
    "Mean [low, high], the 95 % confidence interval of the mean between initialisations (between tries where there is "
    f"one initialisation). {RANGE_NOTE}n: initialisations × tries. Certified: share of the instances whose label the "
    "attack vouches for. Exact match: share of batches whose counts are all right. Blank answer: what the answer “no "
    "class is present” scores. Seconds of the attack alone."
)


def build(request: Request) -> Table:
    """Build the table: under each setting a line per attack, one column per metric."""
    measured, labels = request.measured, request.labels
    metrics = request.metrics or _METRICS
    attacks = request.attacks(metrics)
    lines: list[Line] = []
    numbers = []
    for cell in measured.cells():
        ran = [method for method in attacks if measured.ran(cell, method)]
        if not ran:
            continue
        lines.append(Line(heading=labels.setting(cell), rule=True))
        for method in ran:
            values = {metric: measured.value(cell, method, metric) for metric in attacks[method]}
            shown = [with_confidence(values[metric]) if metric in values else "—" for metric in metrics]
            n = tries(next(iter(values.values())))
            lines.append(Line((labels.method.get(method, method), n, *shown)))
            row = numeric_cell(cell) | {"method": method}
            for metric, value in values.items():
                row |= numeric_value(metric, value)
            numbers.append(row)
        floor = [metric for metric in metrics if metric in measured.metrics.get(BLANK, ())]
        blank = [plain(measured.value(cell, BLANK, metric)) if metric in floor else "" for metric in metrics]
        lines.append(Line(("blank answer", "", *blank)))
    columns = [Column("Attack", align="l"), Column("n"), *(Column(metric_facts.label(metric)) for metric in metrics)]
    caption = f"{request.named(attacks)}: what is certified, and how right it is."
    return Table(caption, NOTE, tuple(columns), tuple(lines), pd.DataFrame(numbers))
