"""How long past jobs took, from Snakemake's benchmark files."""

from pathlib import Path

import pandas as pd

from gradleak.plan.cost.jobs import KINDS
from gradleak.sidecars import read_sidecar


def past_jobs(results: Path, device: str | None = None) -> tuple[pd.DataFrame, str]:
    """Read the times of all jobs below a results folder, whatever their configuration.

    Args:
        results: the folder.
        device: only jobs on this device count, e.g. ``cuda``; by default the one where most jobs ran.

    Returns:
        Job id -> ``kind``, ``device`` and ``seconds`` of wall time, including the start of the program; and a
        description of these jobs. Benchmarks without a time, or without the record of a finished job beside them, are
        left out.
    """
    rows: list[tuple[str, str, str, float]] = []
    unreadable = 0
    for folder, name in {kind.folder: kind.record for kind in KINDS.values()}.items():
        for benchmark in sorted((results / folder).rglob("benchmark.tsv")):
            try:
                record = read_sidecar(benchmark.with_name(name))
                seconds = _seconds(benchmark)
            except (OSError, ValueError, KeyError):
                unreadable += 1
            else:
                job = benchmark.parent.relative_to(results / folder).as_posix()
                rows.append((job, record["identity"]["kind"], record["device"].partition(":")[0], seconds))
    times = pd.DataFrame(rows, columns=["job", "kind", "device", "seconds"]).set_index("job")
    device = device or next(iter(times["device"].value_counts().index), "any device")
    times = times.loc[times["device"] == device]
    description = f"{len(times) or 'No'} timed jobs on {device} in {results}"
    return times, description + (f"; {unreadable} more cannot be read" if unreadable else "")


def _seconds(benchmark: Path) -> float:
    """Return the wall time in a benchmark file.

    Raises:
        OSError: the file cannot be read.
        ValueError, KeyError: it has no such time.
    """
    header, row = (line.split("\t") for line in benchmark.read_text(encoding="utf-8").splitlines())
    seconds = float(dict(zip(header, row, strict=True))["s"])
    if not seconds > 0:
        raise ValueError(f"{benchmark}: no time")
    return seconds
