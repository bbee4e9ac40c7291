"""The metrics of several runs as one frame, after a look at where each came from."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from gradleak.errors import InputError
from gradleak.frames import concatenate, read_frame


def gather(runs: Iterable[str], metrics: Iterable[Path], sidecars: Iterable[Path], *, draft: bool) -> pd.DataFrame:
    """Stack the metrics of runs in their order.

    Args:
        runs: run ids.
        metrics: their CSVs.
        sidecars: their records, run.json.
        draft: accept results of different code.

    Raises:
        InputError: a file that is damaged, that is of another run, or, unless ``draft``, runs of one kind that
            different code computed; names every such file.
    """
    frames, records = [], {}
    for run, csv, sidecar in zip(runs, metrics, sidecars, strict=True):
        frame = read_frame(csv)
        if frame.empty or set(frame["run"]) != {run}:
            raise InputError(f"{csv}: does not hold the rows of run {run}; delete it and run again")
        frames.append(frame)
        records[sidecar] = _record(sidecar, run)
    if not draft:
        check_one_code(records)
    return concatenate(frames)


def of_run(record: Mapping[str, Any]) -> dict[str, str]:
    """Return what :func:`check_one_code` needs of a run.json: ``run``, ``code`` and ``kind``."""
    return {"run": record["run"], "code": record["code"], "kind": record["identity"]["kind"]}


def _record(path: Path, run: str) -> Mapping[str, Any]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        known = of_run(record)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: is no record of a run ({error}); delete its folder and run again") from error
    if record.get("interrupted"):
        raise InputError(f"{path}: its run was interrupted; delete its folder and run again")
    if known["run"] != run:
        raise InputError(f"{path}: is the record of run {known['run']}, not of {run}; delete its folder and run again")
    return known


def check_one_code(records: Mapping[Path, Mapping[str, Any]]) -> None:
    """Require that one code computed all runs of a kind.

    Args:
        records: run.json -> its content.

    Raises:
        InputError: names every file that other code computed than the newest.
    """
    by_code: dict[str, dict[str, list[Path]]] = {}
    for path, record in records.items():
        by_code.setdefault(record["kind"], {}).setdefault(record["code"], []).append(path)
    faults = []
    for kind, codes in by_code.items():
        newest = max(codes, key=lambda code: max(path.stat().st_mtime for path in codes[code]))
        faults += [
            f"{path}: was computed by code {code}, the newest of its {kind} runs by {newest}"
            for code, paths in codes.items()
            if code != newest
            for path in paths
        ]
    if faults:
        what = "run Snakemake again without --rerun-triggers, delete their folders, or set draft: true"
        raise InputError("\n".join([*faults, f"results of different code are not put beside each other: {what}"]))
