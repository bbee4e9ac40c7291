"""Label methods on an update: all that apply."""

from collections.abc import Callable

import torch
from torch import Tensor

from gradleak.attacks.labels.base import LabelGuess, build
from gradleak.attacks.labels.consistency import counts_of
from gradleak.attacks.library import lacks
from gradleak.audit.exact import Exact
from gradleak.audit.findings import Counts
from gradleak.clients.observation import Observation
from gradleak.plan import catalogue

Method = Callable[[Observation], LabelGuess]


def methods(observation: Observation, found: Exact | None) -> dict[str, Method | str]:
    """Return every label method that needs no side knowledge by name, or why it does not apply.

    Args:
        observation: what the server sees.
        found: by exact inversion; for the method ``consistency``.
    """
    result: dict[str, Method | str] = {}
    for name in catalogue.names("attacks"):
        if catalogue.find("attacks", name).side:
            continue  # which a server of an audit never has
        lacking = lacks(name, observation)
        if lacking is not None:
            result[name] = f"needs {lacking}"
        elif name == "consistency":
            result[name] = "exact inversion did not run" if found is None else _consistency(found)
        else:
            result[name] = build(name)
    return result


def _consistency(found: Exact) -> Method:
    return lambda observation: counts_of(observation, found.seen, found.inversion)


def counts_dict(guess: LabelGuess) -> Counts:
    """Return the classes of a guess with their instances."""
    present = torch.nonzero(guess.presence).flatten().tolist()
    if guess.counts is None:
        return dict.fromkeys(present)
    return {c: int(guess.counts[c]) for c in present}


def label_list(counts: Tensor) -> Tensor:
    """Return labels [B] int64, ascending, of counts [C]."""
    return torch.arange(len(counts)).repeat_interleave(counts)
