"""Records beside results: run.json of a run, train.json of a victim, prior.json of a prior.

A job writes its record last. :func:`read_sidecar` is the only reader, and checks it.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from gradleak.errors import InputError
from gradleak.records import Written


class _Part(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True)


class _Identity(_Part):
    kind: str


class _Hardware(_Part):
    processor: str
    cores: int


class _Record(_Part):
    """Entries of every record; kinds of jobs add more."""

    run: str
    spec: dict[str, Any]
    identity: _Identity
    code: str
    kinds: dict[str, list[str]]
    commit: str | None
    dirty: bool | None
    packages: dict[str, str]
    device: str
    hardware: _Hardware
    seconds: float
    peak_memory_mb: float
    interrupted: bool = False
    metrics: Written | None = None


REMEDY = "delete it and run again"
"""What to do with a damaged file: without its files, both Snakemake and the programs consider a job not done."""


def sidecar_of(metrics: Path) -> Path:
    """``metrics.csv`` has ``run.json`` beside it; any other CSV has a JSON of its own name, so none is overwritten."""
    return metrics.with_name("run.json") if metrics.name == "metrics.csv" else metrics.with_suffix(".json")


def read_sidecar(path: Path, *, run: str | None = None, numbers: Iterable[str] = ()) -> dict[str, Any]:
    """Read the record of a finished job.

    Args:
        path: the file.
        run: the id of the job that it must belong to; any if omitted.
        numbers: further required entries, each a number.

    Returns:
        What :func:`gradleak.provenance.write_sidecar` wrote.

    Raises:
        InputError: the file is missing, is not a valid record, lacks an entry, or belongs to another job, or the job
            was interrupted; one line names the file and says what to do.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; run again") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({error}); {REMEDY}") from error
    try:
        more: Any = dict.fromkeys(numbers, (float, ...))
        model = create_model("_Record", __base__=_Record, **more) if more else _Record
        record = model.model_validate_json(text).model_dump()
    except ValidationError as error:
        first = error.errors()[0]
        reason = ": ".join([*(str(part) for part in first["loc"]), first["msg"]])
        raise InputError(f"{path}: is not the record of a finished job ({reason}); {REMEDY}") from None
    if record["interrupted"]:
        raise InputError(f"{path}: its run was interrupted; {REMEDY}")
    if run is not None and record["run"] != run:
        raise InputError(f"{path}: is the record of run {record['run']}, not of {run}; {REMEDY}")
    return record
