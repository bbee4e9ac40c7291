"""Where the weights of a run's victim are, trained first if they are not there yet."""

import sys
from pathlib import Path

from gradleak.spec import RestoreLabels
from gradleak.training.loop import train


def victim_weights(spec: RestoreLabels) -> Path | None:
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
