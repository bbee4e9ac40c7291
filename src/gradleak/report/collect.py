"""The metrics of several runs as one frame, after a look at where each came from."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from gradleak.code_digest import code_digest
from gradleak.errors import InputError
from gradleak.report.frames import concatenate, read_run


def gather(runs: Iterable[str], metrics: Iterable[Path], sidecars: Iterable[Path], *, draft: bool) -> pd.DataFrame:
    """Stack the metrics of runs in their order.

    Args:
        runs: run ids.
        metrics: their CSVs.
        sidecars: their records, run.json.
        draft: accept results of different code.

    Raises:
        InputError: files that are damaged, that are of other runs, or, unless ``draft``, runs of one kind that
            different code computed; a line for every such file.
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
    """Require that one code computed all runs of a kind.

    Args:
        records: run.json -> its content.

    Raises:
        InputError: a line for every run that other code computed than that of now, with its folder.
    """
    codes: dict[str, set[str]] = {}
    for record in records.values():
        codes.setdefault(record["identity"]["kind"], set()).add(record["code"])
    now = {kind: code_digest(kind) for kind, found in codes.items() if len(found) > 1}
    faults = [
        f"{path.parent}: was computed by code {record['code']}, {kind} runs are now computed by {now[kind]}"
        for path, record in records.items()
        if (kind := record["identity"]["kind"]) in now and record["code"] != now[kind]
    ]
    if faults:
        what = "run Snakemake again without --rerun-triggers, delete these folders, or set draft: true"
        raise InputError("\n".join([*faults, f"results of different code are not put beside each other: {what}"]))
