"""Records beside results, and the files that they describe."""

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
from tests.sidecars import ROW, record

from gradleak.errors import InputError
from gradleak.plan.jobs.labels import RestoreLabels
from gradleak.provenance import Clock, write_results, write_sidecar
from gradleak.records import SCHEMA
from gradleak.report.frames import read_run
from gradleak.sidecars import read_sidecar, sidecar_of
from gradleak.victims.training import weights

SPEC = RestoreLabels(dataset="mnist-sample", model="fcn")


def write(folder: Path, tries: int) -> tuple[Path, Path]:
    rows = [dataclasses.replace(ROW, run=SPEC.run_id, trial=trial) for trial in range(tries)]
    metrics = folder / "metrics.csv"
    write_results(metrics, rows, SPEC, Clock("labels"), run=SPEC.run_id, device="cpu")
    return metrics, folder / "run.json"


def test_records_of_jobs_can_be_read(tmp_path):
    frame, record = read_run(*write(tmp_path, 4), SPEC.run_id)
    assert len(frame) == 4
    assert record["spec"]["dataset"] == "mnist-sample"
    assert record["metrics"]["rows"] == 4
    assert record["schema"] == SCHEMA


def test_every_csv_has_its_own_record():
    assert sidecar_of(Path("a/metrics.csv")) == Path("a/run.json")
    assert sidecar_of(Path("a/b.csv")) == Path("a/b.json")


def test_a_new_csv_beside_an_old_record_is_recognised_and_written_anew(tmp_path, monkeypatch):
    """The program dies between its two files."""
    paths = write(tmp_path, 4)

    def dies(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("gradleak.provenance.write_sidecar", dies)
        with pytest.raises(KeyboardInterrupt):
            write(tmp_path, 5)
    with pytest.raises(InputError, match="it has 5 rows but its record says 4; delete it and run again"):
        read_run(*paths)
    assert len(read_run(*write(tmp_path, 5))[0]) == 5


def test_a_csv_without_a_record_is_not_a_finished_run(tmp_path):
    metrics, sidecar = write(tmp_path, 2)
    sidecar.unlink()
    with pytest.raises(InputError, match=r"run\.json: no such file; run again"):
        read_run(metrics, sidecar)


def test_records_of_trainings_have_their_numbers(tmp_path):
    path = tmp_path / "train.json"
    write_sidecar(path, SPEC, Clock("train"), run="x", device="cpu", accuracy=0.5, loss="low")
    assert read_sidecar(path, run="x", numbers=["accuracy"])["accuracy"] == 0.5
    for name, reason in (("loss", "valid number"), ("steps", "required")):
        with pytest.raises(InputError, match=rf"train\.json: is not the record of a finished job \({name}: .*{reason}"):
            read_sidecar(path, numbers=[name])


def test_a_binary_record_is_one_line(tmp_path):
    (tmp_path / "run.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match=r"run\.json: cannot be read .*; delete it and run again"):
        read_sidecar(tmp_path / "run.json")


def test_a_nan_loss_does_not_invalidate_a_record(tmp_path):
    path = tmp_path / "run.json"
    path.write_text(json.dumps(record(loss=float("nan"))))
    assert read_sidecar(path)["device"] == "cpu"


def test_folders_in_place_of_files_are_one_line(tmp_path):
    metrics, sidecar = write(tmp_path, 2)
    metrics.unlink()
    metrics.mkdir()
    with pytest.raises(InputError, match=r"metrics\.csv: cannot be read"):
        read_run(metrics, sidecar)
    shutil.rmtree(metrics)


def test_a_victim_without_its_record_is_trained_again(tmp_path, monkeypatch, capsys):
    spec = RestoreLabels(dataset="mnist-sample", model="fcn", stage="iter1", checkpoint_dir=tmp_path)
    victim = spec.victim()
    assert victim is not None
    victim.folder.mkdir(parents=True)
    victim.weights.touch()
    with pytest.raises(InputError, match=r"train\.json: no such file; run again"):
        weights.victim_quality(spec)

    def train(spec):
        raise InterruptedError

    monkeypatch.setattr(weights, "train", train)
    with pytest.raises(InterruptedError):
        weights.victim_weights(spec)
    assert f"no {victim.sidecar}: training the victim" in capsys.readouterr().err
