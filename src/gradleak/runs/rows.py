"""Rows of a run's results."""

from gradleak.plan.jobs.attack import AttackRun
from gradleak.records import OK, Row, Setting


def row(
    spec: AttackRun,
    setting: Setting,
    method: str,
    trial: int,
    metric: str,
    value: float,
    *,
    client: int = -1,
    image: int = -1,
    iteration: int = -1,
    status: str = OK,
) -> Row:
    """Return a row of a run's results; arguments as in :class:`gradleak.records.Row`.

    Args:
        spec: the run.
        setting: :meth:`gradleak.plan.jobs.attack.AttackRun.setting`, computed once per run.
        method: see above, like the others.
        trial: see ``method``.
        metric: see ``method``.
        value: see ``method``.
        client: see ``method``.
        image: see ``method``.
        iteration: see ``method``.
        status: see ``method``.
    """
    return Row(
        run=spec.run_id,
        kind=spec.KIND,
        method=method,
        **vars(setting),
        model_seed=spec.victim_seed,
        seed=spec.seed,
        trial=trial,
        client=client,
        image=image,
        iteration=iteration,
        status=status,
        metric=metric,
        value=value,
    )
