"""The metrics of finished reconstruction runs as one table, for ``make_metrics_table.py``."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, model_validator

from gradleak.errors import InputError
from gradleak.records import CELL, NOT_APPLICABLE, OK
from gradleak.report.frames import read_run as read_results
from gradleak.report.image_rows import batches, only_images
from gradleak.report.tables.base import WITHHELD, WITHHELD_NOTE, Column, Labels, Line, Table
from gradleak.report.tex import figure

_METRICS = {
    "psnr": "PSNR (dB)",
    "ssim": "SSIM",
    "mse": "MSE",
    "lpips": "LPIPS",
    "feature_cosine": "Feature cosine",
    "label_accuracy": "Label accuracy",
}
_NAMES = {"dlg": "DLG", "ig": "IG", "diffusion": "Diffusion"}

CAPTION = "Image reconstruction: each batch, and the mean over all images of a setting."
NOTE = (
    "Images are compared on [0, 1]. Reconstructions are paired with the originals by the assignment with the smallest "
    "squared error, one for all metrics."
)


class MetricsTable(BaseModel):
    """Options of ``make_metrics_table.py``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dlg_run: Path = Field(description="folder of a run of reconstruct.py")
    diffusion_run: Path | None = Field(default=None, description="folder of a run of diffusion_reconstruct.py, if any")
    output: Path | None = Field(default=None, description="LaTeX file to write (default: standard output)")
    per_batch: bool = Field(default=True, description="add a line for each batch to the means")

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        if self.output is not None and (self.output.suffix != ".tex" or self.output.is_dir()):
            raise ValueError(f"--output {self.output}: must be a file whose name ends in .tex")
        return self

    @property
    def folders(self) -> list[Path]:
        """The folders of the runs in the table."""
        return [folder for folder in (self.dlg_run, self.diffusion_run) if folder is not None]


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        frame: the metrics of its images, one trial per batch (see :func:`gradleak.report.image_rows.batches`);
            ``where`` is the round and client in words.
        record: its run.json.
    """

    frame: pd.DataFrame
    record: dict[str, Any]


def read_run(folder: Path) -> Run:
    """Read the folder of a run.

    Raises:
        InputError: it is not the folder of a reconstruction run; one line says why.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    for name in ("metrics.csv", "run.json"):
        if not (folder / name).is_file():
            raise InputError(f"{folder}: has no {name}, so it is not the folder of a reconstruction run")
    rows, record = read_results(folder / "metrics.csv", folder / "run.json")
    frame: Any = only_images(rows)
    if "psnr" not in set(frame["metric"]):
        raise InputError(f"{folder}: its metrics.csv holds no reconstructed images")
    frame = frame[frame["metric"].isin(_METRICS)]
    several = frame["trial"].nunique() > 1
    where = [_where(trial, client, several) for trial, client in zip(frame["trial"], frame["client"], strict=True)]
    return Run(batches(frame.assign(where=where)), record)


def _where(trial: int, client: int, several: bool) -> str:
    """Return round and client in words; the round only if there are several."""
    who = "aggregate" if client < 0 else f"client {client}"
    return f"round {trial}, {who}" if several else who


def table(runs: list[Run], *, per_batch: bool = True) -> Table:
    """Build the table: a block per setting and attack, a line per batch, and the mean over all images."""
    metrics = [name for name in _METRICS if any(name in set(run.frame["metric"]) for run in runs)]
    lines: list[Line] = []
    numbers: list[dict[str, Any]] = []
    for run in runs:
        rows: Any = run.frame
        for values, block in rows.groupby([*CELL, "method"], sort=False):
            cell: dict[str, Any] = dict(zip((*CELL, "method"), values, strict=True))
            method = str(cell["method"])
            lines.append(Line(heading=f"{_NAMES.get(method, method)}: {_heading(cell, run.record)}", rule=True))
            of_batch = [(str(where), part) for where, part in block.groupby("where", sort=False)]
            shown = of_batch if per_batch or len(of_batch) == 1 else []
            for name, part in [*shown, *([("all", block)] if len(of_batch) > 1 else [])]:
                line, row = _line(name, part, metrics)
                lines.append(line)
                numbers.append({**cell, **row})
    columns = [Column("Batch", align="l"), Column("Images", align="r")]
    columns += [Column(_METRICS[name], align="r") for name in metrics]
    withheld = [WITHHELD_NOTE] if any((run.frame["status"] == NOT_APPLICABLE).any() for run in runs) else []
    note = " ".join([NOTE, *withheld, _provenance(runs)])
    return Table(CAPTION, note, tuple(columns), tuple(lines), pd.DataFrame(numbers))


def _heading(cell: dict[str, Any], record: dict[str, Any]) -> str:
    spec = record["spec"]
    known = {"iterations": "iterations", "diffusion_steps": "denoising steps", "restarts": "starts"}
    options = [f"{spec[name]} {words}" for name, words in known.items() if name in spec]
    return ", ".join([Labels().setting(cell), *options])


def _line(name: str, rows: Any, metrics: list[str]) -> tuple[Line, dict[str, Any]]:
    """Return the line for one batch or for several, and its values."""
    good = rows[rows["status"] == OK]
    counted = int((good["metric"] == "psnr").sum())
    lost = WITHHELD if (rows["status"] == NOT_APPLICABLE).all() else "diverged"
    values = {metric: float(good.loc[good["metric"] == metric, "value"].mean()) for metric in metrics}
    if not counted:
        return Line((name, "0", lost, *["—"] * (len(metrics) - 1))), {"batch": name, "images": 0}
    texts = [figure(metric, value) if np.isfinite(value) else "—" for metric, value in values.items()]
    return Line((name, str(counted), *texts)), {"batch": name, "images": counted, **values}


def _provenance(runs: list[Run]) -> str:
    commits = dict.fromkeys(str(run.record["commit"] or "unknown")[:12] for run in runs)
    return f"Commit: {', '.join(commits)}."
