"""The metrics table of finished runs, by its documented command."""

import json
import runpy
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tests.sidecars import write_record

from gradleak.errors import InputError
from gradleak.plan import cli
from gradleak.records import COLUMNS, NOT_APPLICABLE
from gradleak.report.run_table import MetricsTable, read_run, table
from gradleak.report.tables.render import to_latex


def write_run(folder: Path, frame: pd.DataFrame, **spec) -> Path:
    """Write the folder of a run as the programs do."""
    folder.mkdir()
    frame[list(COLUMNS)].to_csv(folder / "metrics.csv", index=False)
    write_record(folder / "metrics.csv", run=frame["run"].iloc[0], spec=spec)
    return folder


@pytest.fixture
def dlg_run(made_up_images, tmp_path) -> Path:
    frame = pd.concat(
        [
            made_up_images("cifar100", "lenet", 1, method="dlg", clients=3, diverged=(2,)),
            made_up_images("cifar100", "lenet", 3, method="dlg", clients=3, aggregated=True),
        ]
    ).assign(run="images/one")
    return write_run(tmp_path / "run_1", frame, iterations=200, restarts=3)


@pytest.fixture
def diffusion_run(made_up_images, tmp_path) -> Path:
    frame = made_up_images("cifar100", "lenet", 1, method="diffusion", rounds=2, more={"lpips": 0.25})
    return write_run(tmp_path / "run_2", frame.assign(kind="diffusion"), diffusion_steps=50)


def lines(*folders: Path, **more) -> list[tuple[str, ...]]:
    return [line.cells or (line.heading,) for line in table([read_run(folder) for folder in folders], **more).lines]


def test_a_line_per_batch_and_the_mean_over_all_images(dlg_run):
    heading, first, second, lost, mean, joint, aggregate = lines(dlg_run)
    assert heading == ("DLG: lenet, cifar100, B=1, 200 iterations, 3 starts",)
    assert first == ("client 0", "1", "18.01", "0.500", "1.6e−2", "0.900", "0.000")
    assert second[:3] == ("client 1", "1", "19.01")
    assert lost == ("client 2", "0", "diverged", "—", "—", "—", "—")
    assert mean[:3] == ("all", "2", "18.51")
    assert joint == ("DLG: lenet, cifar100, B=3, 3 clients aggregated, 200 iterations, 3 starts",)
    assert aggregate[:3] == ("aggregate", "3", "19.01")


def test_the_means_alone(dlg_run):
    assert [line[0] for line in lines(dlg_run, per_batch=False) if len(line) > 1] == ["all", "aggregate"]


def test_tries_that_were_not_applicable_are_shown_as_such(made_up_images, tmp_path):
    frame = made_up_images("mnist", "lenet", 2, clients=2)
    withheld = frame["client"] == 1
    frame.loc[withheld, ["status", "value"]] = [NOT_APPLICABLE, np.nan]
    made = table([read_run(write_run(tmp_path / "run_3", frame))])
    second, mean = (line.cells for line in made.lines[-2:])
    assert second[:3] == ("client 1", "0", "n/a")
    assert mean[:3] == ("all", "2", "18.51")
    assert "not applicable" in made.note


def test_a_diffusion_run_comes_below(dlg_run, diffusion_run):
    made = table([read_run(dlg_run), read_run(diffusion_run)])
    assert [column.header for column in made.columns][2:6] == ["PSNR (dB)", "SSIM", "MSE", "LPIPS"]
    shown = [line.cells for line in made.lines if line.cells]
    assert shown[0][5] == "—"
    assert [line[0] for line in shown[-3:]] == ["round 0, client 0", "round 1, client 0", "all"]
    assert shown[-1][5] == "0.250"
    assert made.lines[-4].heading == "Diffusion: lenet, cifar100, B=1, 50 denoising steps"
    assert "Commit: 0123456789ab." in made.note
    assert made.numbers["psnr"].iloc[-1] == pytest.approx(18.01)


def test_it_is_escaped_latex_with_booktabs(dlg_run, paper_folder):
    made = table([read_run(dlg_run)])
    text = to_latex(made, "metrics", paper_folder / "templates" / "table.tex.j2")
    assert r"\toprule" in text
    assert r"1.6e\ensuremath{-}2" in text


@pytest.mark.parametrize("name", ["metrics.csv", "run.json"])
def test_a_folder_without_results_is_named(dlg_run, name):
    (dlg_run / name).unlink()
    with pytest.raises(InputError, match=rf"run_1: has no {name}, so it is not the folder of a reconstruction run"):
        read_run(dlg_run)


def test_a_run_of_an_older_version_is_one_line(dlg_run):
    record = json.loads((dlg_run / "run.json").read_text())
    del record["schema"]
    (dlg_run / "run.json").write_text(json.dumps(record))
    with pytest.raises(InputError, match=r"^[^\n]*run_1/run\.json: results of another version[^\n]*run again$"):
        read_run(dlg_run)


def test_foreign_folders_are_refused(dlg_run, made_up, tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        read_run(tmp_path / "none")
    labels = made_up("mnist", "fcn", 8).assign(run="labels/one")
    with pytest.raises(InputError, match="holds no reconstructed images"):
        read_run(write_run(tmp_path / "labels", labels))
    record = json.loads((dlg_run / "run.json").read_text())
    (dlg_run / "run.json").write_text(json.dumps(record | {"run": "images/other"}))
    with pytest.raises(InputError, match=r"metrics\.csv: does not contain the rows of run images/other"):
        read_run(dlg_run)
    for text in ("{", "[]", "{}"):
        (dlg_run / "run.json").write_text(text)
        with pytest.raises(InputError, match=r"run\.json: is not the record of a finished job"):
            read_run(dlg_run)


def test_the_program_prints_or_writes(dlg_run, diffusion_run, paper_folder, tmp_path, capsys):
    program = runpy.run_path(str(paper_folder.parent / "workflow" / "scripts" / "make_metrics_table.py"))
    argv = ["--dlg-run", str(dlg_run), "--diffusion-run", str(diffusion_run)]
    program["main"](argv)
    printed = capsys.readouterr().out
    program["main"]([*argv, "--output", str(tmp_path / "new" / "table.tex")])
    assert (tmp_path / "new" / "table.tex").read_text() == printed
    assert r"\label{tab:metrics}" in printed
    assert capsys.readouterr().out == ""


def test_the_documented_command():
    spec = cli.parse(MetricsTable, ["--dlg-run", "outputs/a", "--diffusion-run", "outputs/b"])
    assert spec.folders == [Path("outputs/a"), Path("outputs/b")]
    with pytest.raises(InputError, match="--dlg-run is missing"):
        cli.parse(MetricsTable, [])
    with pytest.raises(InputError, match=r"ends in \.tex"):
        cli.parse(MetricsTable, ["--dlg-run", "a", "--output", "table.csv"])
