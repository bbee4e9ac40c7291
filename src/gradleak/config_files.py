"""A grid from files, merged as Snakemake merges ``--configfile``: for programs that plan without Snakemake."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from gradleak.config import Sources, load
from gradleak.errors import InputError
from gradleak.grid import Grid, expand


def merged(lower: Mapping[str, Any], upper: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``upper`` over ``lower``: mappings key by key, all else replaced."""
    result = dict(lower)
    for key, value in upper.items():
        below = result.get(key)
        result[key] = merged(below, value) if isinstance(value, Mapping) and isinstance(below, Mapping) else value
    return result


def read_grid(paths: Sequence[Path]) -> Grid:
    """Read config files, later ones over earlier ones, and expand them.

    Raises:
        InputError: a file cannot be read or is no mapping; or every fault of the configuration, one a line.
    """
    files: dict[str, Any] = {}
    for path in paths:
        try:
            files |= Sources.read([path]).files
        except OSError as error:
            raise InputError(f"{path}: {error.strerror}") from error
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise InputError(f"{path}: is no YAML: {' '.join(str(error).split())}") from error
    raw: dict[str, Any] = {}
    for name, values in files.items():
        if not isinstance(values, Mapping):
            raise InputError(f"{name}: a config file is a mapping of keys to values")
        raw = merged(raw, values)
    sources = Sources(files)
    return expand(load(raw, sources), sources)
