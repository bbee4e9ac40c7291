"""Which victims a grid's runs need, and which training continues which."""

from collections.abc import Mapping
from itertools import pairwise

from gradleak.plan.axes import Run
from gradleak.plan.jobs.spec import by_id
from gradleak.plan.jobs.training import TrainVictim, stage_parts


def victims_of(runs: Mapping[str, Run]) -> dict[str, TrainVictim]:
    """Return run id -> the training that the run needs; runs on untrained victims are left out.

    Raises:
        InputError: see :func:`gradleak.plan.jobs.spec.by_id`.
    """
    every = ((name, run.victim()) for name, run in runs.items())
    victims = {name: victim for name, victim in every if victim is not None}
    by_id((victim.run_id, victim) for victim in victims.values())
    return victims


def earlier_stages(victims: Mapping[str, TrainVictim]) -> dict[str, str]:
    """Return for each stage of a shared training the stage before it, from which it continues.

    Args:
        victims: id -> training; first stages are left out of the result.
    """
    shared: dict[tuple[str, str], list[tuple[int, str]]] = {}
    for name, victim in victims.items():
        unit, number = stage_parts(victim.stage)
        shared.setdefault((victim.training_digest, unit), []).append((number, name))
    return {name: before for stages in map(sorted, shared.values()) for (_, before), (_, name) in pairwise(stages)}
