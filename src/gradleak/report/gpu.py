"""Figures that a GPU measured elsewhere: ``bench/gpu.sh`` writes the file, the agreement table has a column for it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import BaseModel, ConfigDict, ValidationError

from gradleak.errors import InputError
from gradleak.records import SCHEMA, Setting, write_text
from gradleak.report.published import VALUES
from gradleak.report.statistics import KEYS, summarise
from gradleak.report.tex import listing

_TEXTS = [*(field.name for field in fields(Setting) if field.type is str), "method", "metric", "basis"]


class Maker(BaseModel):
    """What some of the jobs ran on and with.

    Attributes:
        device: as in the records of the jobs, such as ``cuda:0``.
        gpu: its name.
        cuda: version of CUDA.
        cudnn: version of cuDNN.
        commit: of the code.
        dirty: whether tracked files differed from it.
        packages: name -> version.
        jobs: how many jobs.
    """

    model_config = ConfigDict(extra="forbid")

    device: str
    gpu: str | None = None
    cuda: str | None = None
    cudnn: int | None = None
    commit: str | None
    dirty: bool | None
    packages: dict[str, str]
    jobs: int


class Document(BaseModel):
    """The whole file.

    Attributes:
        schema_version: version of its columns, :data:`gradleak.records.SCHEMA`.
        made_on: machines and code, most jobs first.
        parts: part -> how many of its jobs are done (``done``), of how many (``of``), and their ``seconds`` together.
        train: a line for each trained victim.
        rows: label restoration, the result of :func:`gradleak.report.statistics.summarise`; null where it has no value.
        exact: a line for each batch that was inverted exactly.
        images: a line for each pair of timed reconstructions.
    """

    model_config = ConfigDict(extra="forbid")

    schema_version: int = SCHEMA
    made_on: list[Maker]
    parts: dict[str, dict[str, float]]
    train: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    exact: list[dict[str, Any]] = []
    images: list[dict[str, Any]] = []


@dataclass(frozen=True)
class Elsewhere:
    """Label restoration on a GPU.

    Attributes:
        summary: the result of :func:`gradleak.report.statistics.summarise`.
        where: GPU and code, in words.
    """

    summary: pd.DataFrame
    where: str


def makers(records: Sequence[Mapping[str, Any]]) -> list[Maker]:
    """Return what jobs ran on and with, from their records; jobs that differ in nothing are one entry."""
    counted: dict[str, Maker] = {}
    for record in records:
        about = {name: record["hardware"].get(name) for name in ("gpu", "cuda", "cudnn")}
        same = {name: record[name] for name in ("device", "commit", "dirty", "packages")}
        key = json.dumps({**about, **same}, sort_keys=True)
        counted.setdefault(key, Maker(**about, **same, jobs=0)).jobs += 1
    return sorted(counted.values(), key=lambda maker: -maker.jobs)


def summary_of(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the metrics that were published, summarised over initialisations, as rows of the file.

    Runs of one setting may have tries in common, of which one counts.
    """
    rows: Any = frame.drop_duplicates([*KEYS, "model_seed", "seed", "trial", "client"])
    pairs = pd.MultiIndex.from_tuples(VALUES.values())
    chosen = rows[pd.MultiIndex.from_frame(rows[["method", "metric"]]).isin(pairs) & (rows["trial"] >= 0)]
    if chosen.empty:
        return []
    summary = summarise(chosen)
    return summary.astype(object).where(summary.notna(), None).to_dict("records")


def write(path: Path, document: Document) -> None:
    """Write the file."""
    write_text(path, document.model_dump_json(indent=1) + "\n")


def load(path: Path) -> Elsewhere:
    """Read what the agreement table shows of the file.

    Raises:
        InputError: it cannot be read, is of another version, or has results of a CPU, which are those of a trial run.
    """
    remedy = "delete it, or run bench/gpu.sh again"
    try:
        document = Document.model_validate_json(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); {remedy}") from None
    except ValidationError as error:
        first = error.errors()[0]
        reason = ": ".join([*(str(part) for part in first["loc"]), first["msg"]])
        raise InputError(f"{path}: is not a file of bench/gpu.sh ({reason}); {remedy}") from None
    if document.schema_version != SCHEMA:
        raise InputError(f"{path}: its columns are of version {document.schema_version}, now {SCHEMA}; {remedy}")
    if any(maker.gpu is None for maker in document.made_on):
        raise InputError(f"{path}: has results of a CPU, so it is of a trial run; {remedy}")
    known = summarise(pd.DataFrame(columns=[*KEYS, "model_seed", "seed", "trial", "status", "value"]))
    rows = pd.DataFrame(document.rows, columns=known.columns)
    numbers = [name for name in rows.columns if name not in _TEXTS]
    try:
        rows[numbers] = rows[numbers].apply(pd.to_numeric)
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}: rows: {error}; {remedy}") from None
    gpus = listing(sorted({str(maker.gpu) for maker in document.made_on}))
    commits = listing(sorted({str(maker.commit)[:7] for maker in document.made_on}))
    return Elsewhere(rows, f"{gpus}, commit {commits}")
