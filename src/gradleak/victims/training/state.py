"""The state of an unfinished training in one file: everything that its next step depends on.

Random draws are functions of seed and step, so no generator needs saving.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from gradleak.plan.code import code_of
from gradleak.plan.jobs.training import TrainVictim
from gradleak.records import whole_file


@dataclass
class State:
    """A training between two steps.

    Attributes:
        step: steps done.
        num_images: size of its training set.
        loss_sum: sum of the losses of the steps since the last entry of the history.
        history: entries (step, split, metric, value) so far.
        model: state dict of the model.
        optimizer: state dict of the optimiser.
    """

    step: int
    num_images: int
    loss_sum: float
    history: list[tuple[int, str, str, float]]
    model: dict[str, Any]
    optimizer: dict[str, Any]


def state_path(spec: TrainVictim) -> Path:
    """Return where the state of a training is kept: beside its checkpoint, named by the training and its code.

    A training never resumes from a state that other code saved.
    """
    return spec.folder / f"state-{spec.training_digest}-{code_of(spec)}.pt"


def save(state: State, path: Path) -> None:
    """Write a state atomically, and delete those of other code beside it."""
    with whole_file(path) as temporary:
        torch.save(asdict(state), temporary)
    for other in path.parent.glob("state-*.pt"):
        if other != path:  # saved by other code, so nothing resumes from it
            other.unlink(missing_ok=True)


def newest(spec: TrainVictim, *, stop: int, num_images: int) -> State | None:
    """Return the furthest saved state of this training that is not after ``stop``, or None.

    The stages of a shared training share their states, including that of the last stage. States that cannot be read or
    have a training set of another size are skipped.
    """
    best: tuple[int, Path] | None = None
    for path in sorted(spec.folder.parent.glob(f"*-seed{spec.seed}-*/{state_path(spec).name}")):
        content = _read(path, mmap=True)
        if content is None or content["num_images"] != num_images or content["step"] > stop:
            continue
        if best is None or content["step"] > best[0]:
            best = content["step"], path
    content = _read(best[1], mmap=False) if best else None
    # Another stage may have replaced the file in the meantime.
    return State(**content) if content is not None and content["step"] <= stop else None


def _read(path: Path, *, mmap: bool) -> dict[str, Any] | None:
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except Exception:  # a damaged file raises errors of any type, and only costs the training time
        return None
