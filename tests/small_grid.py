"""A small configuration, and its expansion with some of its keys changed."""

import copy
from typing import Any

from gradleak.plan import config as configuration
from gradleak.plan import grid

BASE: dict[str, Any] = {
    "defaults": {"num_tries": 2, "model_seed": [1, 2]},
    "datasets": {"digits": {"kind": "mnist-sample", "label": "MNIST"}},
    "models": {
        "fcn": {"kind": "fcn", "label": "FCN-3"},
        "deep": {"kind": "fcn", "n_hidden": 3, "label": "FCN"},
    },
    "attacks": {"ilrg": {"kind": "ilrg", "label": "iLRG"}, "gi": {"kind": "gi", "label": "GI"}},
    "experiments": {
        "a": {"attacks": ["ilrg"], "axes": [{"dataset": "digits", "model": "fcn", "batch_size": [4, 8]}]},
        "b": {
            "attacks": ["ilrg"],
            "axes": [{"dataset": "digits", "model": ["fcn", "deep"], "batch_size": 8}],
        },
    },
    "tables": {"t": {"kind": "batch_size_and_depth", "experiments": ["a"]}},
    "figures": {"f": {"kind": "accuracy_over_batch", "experiments": ["b"]}},
}


def expand(changes: dict[str, Any] | None = None) -> grid.Grid:
    """Return the expanded grid.

    Args:
        changes: keys, with slashes between their parts -> values; missing parts are created.
    """
    raw = copy.deepcopy(BASE)
    for key, value in (changes or {}).items():
        *path, last = key.split("/")
        place = raw
        for part in path:
            place = place.setdefault(part, {})
        place[last] = value
    sources = configuration.Sources({"my.yaml": raw})
    return grid.expand(configuration.load(raw, sources), sources)
