"""Independent random streams, so that changing one part of an experiment changes no other part.

A stream is identified by its purpose (``"batch"``, ``"victim"``, ``"defense"``, ``"attack"``) and by the keys that it
may depend on. Batches depend on (dataset, distribution, batch size, seed, trial) alone, so every attack and every
defense gets the same batches.
"""

import hashlib

import numpy as np


def stream_seed(purpose: str, *keys: object) -> int:
    """Return a 63-bit seed that is a pure function of the purpose and the keys' text."""
    text = "\x1f".join([purpose, *(str(key) for key in keys)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def stream(purpose: str, *keys: object) -> np.random.Generator:
    """Return a NumPy generator for the named stream; equal names give equal draws on every machine."""
    return np.random.default_rng(stream_seed(purpose, *keys))
