"""Metrics and experiments as frames: only files as written are read."""

import dataclasses
from pathlib import Path

import pytest
from tests.sidecars import ROW

from gradleak import records
from gradleak.errors import InputError
from gradleak.report import frames
from gradleak.report.frames import read_experiment, write_experiment


def test_rows_survive_the_round_trip(tmp_path):
    path = tmp_path / "deep" / "metrics.csv"
    rows = [ROW, dataclasses.replace(ROW, trial=1, value=1 / 3), dataclasses.replace(ROW, value=float("nan"))]
    records.write_rows(path, rows)
    frame = frames.read_frame(path)
    assert tuple(frame.columns) == records.COLUMNS
    assert frame["defense"].tolist() == ["none"] * 3
    assert frame["checkpoint"].tolist() == [""] * 3
    assert frame["value"].iloc[1] == 1 / 3
    assert frame["value"].isna().tolist() == [False, False, True]


@pytest.mark.parametrize(("content", "message"), [("", "is empty"), ("a,b\n1,2\n", "expected run, kind")])
def test_other_files_are_refused(tmp_path, content, message):
    path = tmp_path / "metrics.csv"
    path.write_text(content)
    with pytest.raises(InputError, match=message):
        frames.read_frame(path)


def test_columns_of_an_older_version_are_one_line(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text("run,kind,method,dataset,model,stage,unit,metric,value\nr,labels,ilrg,mnist,fcn,iter9,,leacc,1\n")
    with pytest.raises(InputError) as caught:
        frames.read_frame(path)
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"{path}: results of another version, whose columns differ (now the type in ")
    assert line.endswith("; delete it and run again")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"nothing\.csv: no such file"):
        frames.read_frame(tmp_path / "nothing.csv")


@pytest.fixture
def experiment(made_up, tmp_path) -> Path:
    path = tmp_path / "one.csv"
    write_experiment(path, made_up("mnist", "fcn", 8, experiment="one"))
    return path


def test_rows_of_an_experiment_survive_the_round_trip(experiment, made_up):
    frame = read_experiment(experiment)
    assert frame["value"].tolist() == pytest.approx(made_up("mnist", "fcn", 8)["value"].tolist(), rel=1e-12)


def test_a_truncated_experiment_is_refused(experiment, made_up):
    lines = experiment.read_text().splitlines()
    experiment.write_text("\n".join(lines[:-5]) + "\n")
    with pytest.raises(InputError, match=r"one\.csv: is not the file that was written: .*; delete it and run again"):
        read_experiment(experiment)


@pytest.mark.parametrize("text", [None, "", "{}", '{"rows": "many", "sha256": ""}'])
def test_an_experiment_without_its_record_is_refused(experiment, text):
    (experiment.with_suffix(".json")).unlink()
    if text is not None:
        experiment.with_suffix(".json").write_text(text)
    with pytest.raises(InputError, match=r"one\.csv: has no readable one\.json beside it; delete it and run again"):
        read_experiment(experiment)
