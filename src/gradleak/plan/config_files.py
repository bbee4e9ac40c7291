"""Grids from config files, merged as Snakemake merges ``--configfile``, for programs that plan without Snakemake."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gradleak.plan.config import load
from gradleak.plan.config_sources import Sources
from gradleak.plan.grid import Grid, expand


def merged(lower: Mapping[str, Any], upper: Mapping[str, Any]) -> dict[str, Any]:
    """Merge ``upper`` over ``lower``: mappings key by key; anything else is replaced."""
    result = dict(lower)
    for key, value in upper.items():
        below = result.get(key)
        result[key] = merged(below, value) if isinstance(value, Mapping) and isinstance(below, Mapping) else value
    return result


def read_grid(paths: Sequence[Path]) -> Grid:
    """Read config files, later ones over earlier ones, and expand them.

    Raises:
        InputError: see :meth:`gradleak.plan.config_sources.Sources.read`; or every fault of the configuration, one a
            line.
    """
    sources = Sources.read(paths)
    raw: dict[str, Any] = {}
    for values in sources.files.values():
        raw = merged(raw, values)
    return expand(load(raw, sources), sources)
