"""Where the weights of a run's victim are, trained first if they are not there yet, and how good they are."""

import json
import sys
from pathlib import Path

from gradleak.attack_spec import AttackRun
from gradleak.errors import InputError
from gradleak.training.loop import train


def victim_weights(spec: AttackRun) -> Path | None:
    """Return the weights of a run's victim: None if it is untrained.

    That is the user's own ``checkpoint``, else the checkpoint of the stage under ``checkpoint_dir``. If that is not
    there it is trained first, as the documents promise, with a message on standard error.

    Raises:
        InputError: the training fails, see :func:`gradleak.training.train`.
    """
    if spec.checkpoint is not None:
        return spec.checkpoint
    victim = spec.victim()
    if victim is None:
        return None
    if not victim.weights.exists():
        print(f"no {victim.weights}: training the victim to {victim.stage} first", file=sys.stderr)
        trained = train(victim)
        print(f"trained: {victim.stage}  accuracy {trained.accuracy:.4f}  loss {trained.loss:.4f}", file=sys.stderr)
    return victim.weights


def victim_quality(spec: AttackRun) -> dict[str, float]:
    """Return ``accuracy`` and ``loss`` of a run's trained victim on the validation images; nothing if gradleak did not
    train it.

    Raises:
        InputError: the sidecar beside the checkpoint is missing or unreadable.
    """
    victim = spec.victim()
    if victim is None:
        return {}
    try:
        record = json.loads(victim.sidecar.read_text(encoding="utf-8"))
        return {name: float(record[name]) for name in ("accuracy", "loss")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{victim.sidecar}: no readable record of the training; delete its folder and run again"
        ) from error
