"""The metrics of several runs as one frame, after a check of their provenance."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from gradleak.errors import InputError
from gradleak.plan.code import code_of_kinds
from gradleak.report.frames import concatenate, read_run


def gather(runs: Iterable[str], metrics: Iterable[Path], sidecars: Iterable[Path], *, draft: bool) -> pd.DataFrame:
    """Stack the metrics of runs in their order.

    Args:
        runs: run ids.
        metrics: their CSVs.
        sidecars: their records, run.json.
        draft: accept results of different code.

    Raises:
        InputError: files that are damaged or belong to other runs, or, unless ``draft``, runs computed by different
            code; one line for every such file.
    """
    frames, records, faults = [], {}, []
    for run, csv, sidecar in zip(runs, metrics, sidecars, strict=True):
        try:
            frame, records[sidecar] = read_run(csv, sidecar, run)
            frames.append(frame)
        except InputError as error:
            faults.append(str(error))
    if faults:
        raise InputError("\n".join(faults))
    if not draft:
        check_one_code(records)
    return concatenate(frames)


def check_one_code(records: Mapping[Path, Mapping[str, Any]]) -> None:
    """Require that all runs were computed by the same version of the code: the present one or an earlier one.

    The code of a run depends on the kinds of the catalogue that it uses, so it is compared between runs of equal kinds.

    Args:
        records: run.json -> its content.

    Raises:
        InputError: a line for every run that was not computed by the present code, with its folder.
    """
    now: dict[Path, str] = {}
    codes: dict[str, set[str]] = {}
    for path, record in records.items():
        kinds = frozenset((part, name) for part, names in record["kinds"].items() for name in names)
        now[path] = code_of_kinds(record["identity"]["kind"], kinds)
        codes.setdefault(now[path], set()).add(record["code"])
    # Runs are grouped by the code that they should have.
    if (
        all(len(actual) == 1 for actual in codes.values())
        and len({actual == {code} for code, actual in codes.items()}) < 2
    ):
        return
    faults = [
        f"{path.parent}: was computed by code {record['code']}; the present code is {now[path]}"
        for path, record in records.items()
        if record["code"] != now[path]
    ]
    what = "run Snakemake again without --rerun-triggers, delete these folders, or set draft: true"
    raise InputError("\n".join([*faults, f"results of different code cannot be compared: {what}"]))
