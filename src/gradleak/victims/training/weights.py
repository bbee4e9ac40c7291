"""The weights of a run's victim, trained first if they are missing, and their quality."""

import sys
from pathlib import Path

from gradleak.plan.jobs.attack import AttackRun
from gradleak.sidecars import read_sidecar
from gradleak.victims.training.loop import train


def victim_weights(spec: AttackRun) -> Path | None:
    """Return the weights of a run's victim: None if it is untrained.

    They are the user's own ``checkpoint``, else the checkpoint of the stage under ``checkpoint_dir``. If that or its
    record is missing, it is trained first, with a message on standard error.

    Raises:
        InputError: the training fails, see :func:`gradleak.victims.training.train`.
    """
    if spec.checkpoint is not None:
        return spec.checkpoint
    victim = spec.victim()
    if victim is None:
        return None
    missing = [path for path in (victim.weights, victim.sidecar) if not path.exists()]
    if missing:
        print(f"no {missing[0]}: training the victim to {victim.stage} first", file=sys.stderr)
        trained = train(victim)
        print(f"trained: {victim.stage}  accuracy {trained.accuracy:.4f}  loss {trained.loss:.4f}", file=sys.stderr)
    return victim.weights


def victim_quality(spec: AttackRun) -> dict[str, float]:
    """Return ``accuracy`` and ``loss`` of a run's victim on the validation images; empty unless gradleak trained it.

    Raises:
        InputError: the record beside the checkpoint is missing or damaged, see :func:`read_sidecar`.
    """
    victim = spec.victim()
    if victim is None:
        return {}
    names = ("accuracy", "loss")
    record = read_sidecar(victim.sidecar, run=victim.run_id, numbers=names)
    return {name: record[name] for name in names}
