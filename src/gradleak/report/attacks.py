"""The attacks that a view of label restoration shows: all that have one of its metrics."""

from collections.abc import Iterable, Sequence

from gradleak.errors import InputError
from gradleak.records import is_attack
from gradleak.report.summary import Measured

BLANK, UNIFORM = "floor-blank", "floor-uniform"
"""Guesses without an attack: no class is present, or all classes have equal counts."""

Attacks = dict[str, tuple[str, ...]]
"""Attack -> the metrics of the view that it has."""


def attacks_with(measured: Measured, metrics: Sequence[str], order: Iterable[str]) -> Attacks:
    """Return the attacks that have at least one of some metrics.

    Args:
        measured: the cells of the view's experiments.
        metrics: the metrics of the view.
        order: the attacks in the order of the configuration; others follow in order of first appearance.
    """
    known = measured.metrics
    ordered = dict.fromkeys([*(name for name in order if name in known), *filter(is_attack, known)])
    shown = {name: tuple(metric for metric in metrics if metric in known[name]) for name in ordered}
    return {name: has for name, has in shown.items() if has}


def check_attacks(measured: Measured, attacks: Attacks, where: str, metrics: Sequence[str], *, every: bool) -> None:
    """Require that some attack has the metrics of a view, and that each attack and floor has its metrics in all runs.

    Args:
        measured: the cells of the view's experiments.
        attacks: the result of :func:`attacks_with`.
        where: the view, for the message.
        metrics: the metrics of the view.
        every: whether every metric is required, or any one of them suffices.

    Raises:
        InputError: no attack has the metrics; or see :meth:`gradleak.report.summary.Measured.check`.
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
