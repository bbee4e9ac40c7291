"""The metrics of several runs as one frame, after a look at where each came from."""

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
        InputError: files that are damaged, that are of other runs, or, unless ``draft``, runs that different code
            computed; a line for every such file.
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
    """Require that one code computed all runs: that of now, or an earlier one.

    Runs that use the same kinds of the catalogue have one code; those that use others have another one.

    Args:
        records: run.json -> its content.

    Raises:
        InputError: a line for every run that other code computed than that of now, with its folder.
    """
    now: dict[Path, str] = {}
    codes: dict[str, set[str]] = {}
    for path, record in records.items():
        kinds = frozenset((part, name) for part, names in record["kinds"].items() for name in names)
        now[path] = code_of_kinds(record["identity"]["kind"], kinds)
        codes.setdefault(now[path], set()).add(record["code"])
    # Runs are told apart by the code that they should have.
    if all(len(found) == 1 for found in codes.values()) and len({found == {code} for code, found in codes.items()}) < 2:
        return
    faults = [
        f"{path.parent}: was computed by code {record['code']}, such a run is now computed by {now[path]}"
        for path, record in records.items()
        if record["code"] != now[path]
    ]
    what = "run Snakemake again without --rerun-triggers, delete these folders, or set draft: true"
    raise InputError("\n".join([*faults, f"results of different code are not put beside each other: {what}"]))
