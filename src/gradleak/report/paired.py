"""Paired differences: by how much one method scores above another on the same tries.

Both attacked the same victim and batch, whose effects cancel in the difference.
"""

from dataclasses import dataclass
from typing import Any

import pandas as pd

from gradleak.plan.metric_facts import DIFFERENCE
from gradleak.records import OK
from gradleak.report.statistics import per_trial, summarise
from gradleak.report.summary import Value

_TRY = ["metric", "model_seed", "seed", "trial"]


@dataclass(frozen=True)
class Difference:
    """The mean paired difference of a metric.

    Attributes:
        value: its summary in the metric's own unit; ``ci_low`` and ``ci_high`` are the ends of the 95 % interval.
        n_unpaired: tries for which only one of the methods has a value; they do not count.
    """

    value: Value
    n_unpaired: int

    @property
    def ends(self) -> tuple[float, float]:
        """Ends of the interval; NaN if there are too few tries for one."""
        return self.value.ci_low, self.value.ci_high

    @property
    def sign(self) -> int:
        """1 or -1 if the whole interval lies above or below 0, else 0: then there is no claim."""
        return int(self.value.ci_low > 0) - int(self.value.ci_high < 0)


def paired_difference(ours: pd.DataFrame, other: pd.DataFrame, metric: str) -> Difference:
    """Compare two methods on the tries for which both have a value.

    Units of a try (images of a batch) are averaged first, then tries are subtracted one by one. The interval is
    Student's t at 95 % over the units that :func:`gradleak.report.statistics.summarise` treats as independent: the mean
    differences per initialisation of the victim or, if there is only one, per batch. All initialisations are attacked
    on the same batches, so counting initialisations times batches would count too many.

    Args:
        ours: rows of one method on one setting, in the long schema.
        other: rows of the other method on the same setting.
        metric: the metric to compare.

    Returns:
        Ours minus the other; the mean is NaN if no try can be paired.
    """
    sides: list[Any] = [ours[ours["metric"] == metric], other[other["metric"] == metric]]
    left, right = (per_trial(side, ["metric"])[[*_TRY, "value"]] for side in sides)
    both = left.merge(right, on=_TRY, how="outer", suffixes=("", "_other"))
    tries = both.assign(value=both["value"] - both["value_other"], metric=DIFFERENCE + metric, status=OK)
    paired = tries.dropna(subset="value")
    if paired.empty:
        return Difference(Value(DIFFERENCE + metric), len(tries))
    row = summarise(paired, by=("metric",)).iloc[0]
    return Difference(Value(*(row[name] for name in Value.__dataclass_fields__)), len(tries) - len(paired))
