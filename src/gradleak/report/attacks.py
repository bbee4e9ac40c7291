"""Which attacks a view of label restoration shows: all that have one of its metrics."""

from collections.abc import Iterable, Sequence

from gradleak.errors import InputError
from gradleak.records import is_attack
from gradleak.report.summary import Measured

BLANK, UNIFORM = "floor-blank", "floor-uniform"
"""Answers without an attack: no class is present, or all classes have equal counts."""

Attacks = dict[str, tuple[str, ...]]
"""Attack -> those of the view's metrics that it has."""


def attacks_with(measured: Measured, metrics: Sequence[str], order: Iterable[str]) -> Attacks:
    """Return the attacks that have one of some metrics anywhere.

    Args:
        measured: the cells of the view's experiments.
        metrics: those of the view.
        order: attacks as the configuration orders them; others come after them, in order of first appearance.
    """
    known = measured.metrics
    ordered = dict.fromkeys([*(name for name in order if name in known), *filter(is_attack, known)])
    shown = {name: tuple(metric for metric in metrics if metric in known[name]) for name in ordered}
    return {name: has for name, has in shown.items() if has}


def check_attacks(measured: Measured, attacks: Attacks, where: str, metrics: Sequence[str], *, every: bool) -> None:
    """Require attacks that have the metrics of a view, and what each attack and floor has from all of its runs.

    Args:
        measured: the cells of the view's experiments.
        attacks: what :func:`attacks_with` gave.
        where: the view, for the message.
        metrics: those of the view.
        every: whether each metric must be there; one of them is enough if not.

    Raises:
        InputError: no attack has the metrics, or see :meth:`gradleak.report.summary.Measured.check`.
    """
    known = measured.metrics
    floors = [(name, metric) for name in (BLANK, UNIFORM) for metric in metrics if metric in known.get(name, ())]
    measured.check([(name, metric) for name, has in attacks.items() for metric in has] + floors, where)
    have = {metric for has in attacks.values() for metric in has}
    lacking = [metric for metric in metrics if metric not in have]
    if lacking and (every or not have):
        others = dict.fromkeys(metric for name in filter(is_attack, known) for metric in known[name])
        raise InputError(
            f"{where}: no attack of its experiments has {' or '.join(lacking)}; they have {', '.join(others)}"
        )
