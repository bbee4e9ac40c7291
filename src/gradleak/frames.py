"""Metrics CSVs as data frames. Apart from :mod:`gradleak.records`, so that jobs that only write need no pandas."""

from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import pandas as pd

from gradleak.errors import InputError
from gradleak.records import COLUMNS, Row

_TEXT: Any = {field.name: str for field in fields(Row) if field.type is str}  # pandas types dtype narrowly


def read_frame(path: Path) -> pd.DataFrame:
    """Read a metrics CSV.

    Raises:
        InputError: the file is missing, empty, or has other columns.
    """
    try:
        # "none" and "nan" are words of the schema, not missing values.
        frame = pd.read_csv(path, dtype=_TEXT, keep_default_na=False, na_values={"value": ["", "nan", "inf", "-inf"]})
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except pd.errors.EmptyDataError:
        raise InputError(f"{path}: the file is empty; delete it and run again") from None
    except ValueError as error:  # ragged lines, no text, no numbers
        raise InputError(
            f"{path}: is no metrics CSV ({' '.join(str(error).split())}); delete it and run again"
        ) from None
    if tuple(frame.columns[: len(COLUMNS)]) != COLUMNS:
        raise InputError(f"{path}: columns are {', '.join(frame.columns)}; expected {', '.join(COLUMNS)}")
    return frame


def concatenate(frames: Mapping[str, pd.DataFrame] | Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Stack metrics frames, keeping the schema when there is none."""
    frames = list(frames.values() if isinstance(frames, Mapping) else frames)
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=list(COLUMNS))
