"""Metrics CSVs as data frames, separate from :mod:`gradleak.records` so that jobs that only write need no pandas."""

import io
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic import TypeAdapter, ValidationError

from gradleak.errors import InputError
from gradleak.records import CHANGED, COLUMNS, SCHEMA, Row, Written, whole_file, write_text
from gradleak.sidecars import REMEDY, read_sidecar

_NUMBERS = {field.name: field.type for field in fields(Row) if field.type in (int, float)}
_WRITTEN = TypeAdapter(Written)


def read_frame(path: Path, written: Written | None = None) -> pd.DataFrame:
    """Read a metrics CSV.

    Args:
        path: the file.
        written: its size and digest according to its record, if there is one.

    Raises:
        InputError: the file is missing or empty, has other columns, has text in place of a number, or differs from the
            file that was written: lines are missing, repeated or edited.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; run again") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); {REMEDY}") from error
    try:
        # "none" and "nan" are values of the schema, not missing values.
        frame = pd.read_csv(io.BytesIO(content), dtype=str, keep_default_na=False)
    except pd.errors.EmptyDataError:
        raise InputError(f"{path}: the file is empty; {REMEDY}") from None
    except ValueError as error:  # ragged lines, not text
        raise InputError(f"{path}: not a metrics CSV ({' '.join(str(error).split())}); {REMEDY}") from None
    if tuple(frame.columns[: len(COLUMNS)]) != COLUMNS:
        raise InputError(_other_columns(path, list(frame.columns)))
    for name, kind in _NUMBERS.items():
        frame[name] = _numbers(path, frame[name], kind)
    if written is not None and Written.of(content, len(frame)) != written:
        rows = f"it has {len(frame)} rows but its record says {written.rows}"
        what = rows if len(frame) != written.rows else "it was edited, or its record belongs to another file"
        raise InputError(f"{path}: is not the file that was written: {what}; {REMEDY}")
    return frame


def _other_columns(path: Path, columns: list[str]) -> str:
    """Return the message for a CSV that does not have the columns of this version."""
    if {"run", "kind", "method", "metric", "value"} <= set(columns):
        return _of_another_version(path)
    return f"{path}: columns are {', '.join(columns)}; expected {', '.join(COLUMNS)}"


def _of_another_version(path: Path) -> str:
    """Return the message for a file of a version other than :data:`gradleak.records.SCHEMA`."""
    return f"{path}: results of another version, whose columns differ (now {CHANGED}); {REMEDY}"


def _numbers(path: Path, column: Any, kind: type) -> Any:
    """Return a column of strings as numbers, which must be finite."""
    try:
        if kind is int:
            return column.astype("int64")
        values = column.replace("", "nan").astype("float64")
        return values.where(np.isfinite(values))
    except (ValueError, OverflowError):
        line, text = next((line, text) for line, text in enumerate(column, start=2) if not _is_number(text, kind))
    what = "a whole number" if kind is int else "a number"
    raise InputError(f"{path}:{line}: {column.name} is {text!r}, not {what}; {REMEDY}")


def _is_number(text: Any, kind: type) -> bool:
    try:
        np.dtype(kind).type(text or "nan" if kind is float else text)
    except (TypeError, ValueError, OverflowError):
        return False
    return True


def read_run(metrics: Path, sidecar: Path, run: str | None = None) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Read the results of a finished run, checked against each other.

    Args:
        metrics: its metrics.csv.
        sidecar: its run.json.
        run: its id; any if omitted.

    Returns:
        The rows, and the record.

    Raises:
        InputError: see :func:`read_frame` and :func:`gradleak.sidecars.read_sidecar`; or the two belong to different
            runs.
    """
    record = read_sidecar(sidecar, run=run)
    schema = record.get("schema")
    if isinstance(schema, int) and schema > SCHEMA:
        raise InputError(f"{sidecar}: a newer version of gradleak wrote it; use that version, or {REMEDY}")
    if schema != SCHEMA:
        raise InputError(_of_another_version(sidecar))
    if record["metrics"] is None:
        raise InputError(f"{sidecar}: an older version wrote it, without the digest of {metrics.name}; {REMEDY}")
    frame = read_frame(metrics, _WRITTEN.validate_python(record["metrics"]))
    if set(frame["run"]) != {record["run"]}:
        raise InputError(f"{metrics}: does not contain the rows of run {record['run']}; {REMEDY}")
    return frame, record


def write_experiment(path: Path, frame: pd.DataFrame) -> None:
    """Write the rows of an experiment as CSV, then their number and the digest as JSON of the same name."""
    content = frame.to_csv(index=False, lineterminator="\n").encode()
    with whole_file(path) as temporary:
        temporary.write_bytes(content)
    written = Written.of(content, len(frame))
    write_text(path.with_suffix(".json"), _WRITTEN.dump_json(written, indent=2).decode() + "\n")


def read_experiment(path: Path) -> pd.DataFrame:
    """Read what :func:`write_experiment` wrote.

    Raises:
        InputError: see :func:`read_frame`; or the JSON is missing or damaged.
    """
    record = path.with_suffix(".json")
    try:
        written = _WRITTEN.validate_json(record.read_bytes())
    except (OSError, ValidationError):
        raise InputError(f"{path}: has no readable {record.name} beside it; {REMEDY}") from None
    return read_frame(path, written)


def concatenate(frames: Mapping[str, pd.DataFrame] | Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Stack metrics frames; without any, return an empty frame of the schema."""
    frames = list(frames.values() if isinstance(frames, Mapping) else frames)
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=list(COLUMNS))
