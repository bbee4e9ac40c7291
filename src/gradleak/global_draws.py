"""Code from elsewhere must not use the global random generators, whose state no run records."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from gradleak.errors import InputError

OWN = "use a generator of its own, such as torch.Generator().manual_seed(0)"
"""Advice for code that is given no generator."""


@contextmanager
def refused(what: str, advice: str = OWN) -> Iterator[None]:
    """Refuse code that draws from the global generators of torch (on the CPU), NumPy or Python, or seeds them.

    Args:
        what: the code, for messages.
        advice: what it should do instead.

    Raises:
        InputError: their state has changed.
    """
    before = _state()
    yield
    if _state() != before:
        raise InputError(f"{what}: draws from a global generator or seeds it, so equal runs differ; {advice}")


def _state() -> tuple[object, ...]:
    numpy = np.random.get_state(legacy=False)["state"]
    return torch.get_rng_state().numpy().tobytes(), numpy["key"].tobytes(), numpy["pos"], random.getstate()
