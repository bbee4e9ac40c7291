"""Results of several runs in one frame: only whole ones, of the runs they claim to be, of one code."""

import dataclasses
import json
from pathlib import Path

import pytest
from tests.unit.test_records import ROW

from gradleak import records
from gradleak.errors import InputError
from gradleak.gather import gather

RUNS = ("labels/a", "labels/b", "images/c")


@pytest.fixture
def written(tmp_path) -> tuple[list[Path], list[Path]]:
    metrics, sidecars = [], []
    for run in RUNS:
        folder = tmp_path / run
        records.write_rows(folder / "metrics.csv", [dataclasses.replace(ROW, run=run)])
        record = {"run": run, "code": "aaaaaaaa", "identity": {"kind": run.partition("/")[0]}}
        (folder / "run.json").write_text(json.dumps(record))
        metrics.append(folder / "metrics.csv")
        sidecars.append(folder / "run.json")
    return metrics, sidecars


def change(path: Path, **values: str) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_rows_are_stacked_in_the_order_of_the_runs(written):
    assert gather(RUNS, *written, draft=False)["run"].tolist() == list(RUNS)


def test_a_mixture_of_code_is_refused_and_names_the_files(written):
    metrics, sidecars = written
    change(sidecars[1], code="bbbbbbbb")
    with pytest.raises(InputError) as raised:
        gather(RUNS, metrics, sidecars, draft=False)
    first, last = str(raised.value).splitlines()
    assert "run.json: was computed by code" in first
    assert "aaaaaaaa" in first
    assert "bbbbbbbb" in first
    assert "draft: true" in last
    assert len(gather(RUNS, metrics, sidecars, draft=True)) == 3


def test_kinds_of_jobs_have_codes_of_their_own(written):
    metrics, sidecars = written
    change(sidecars[2], code="bbbbbbbb")
    assert len(gather(RUNS, metrics, sidecars, draft=False)) == 3


def test_an_interrupted_run_is_refused(written):
    metrics, sidecars = written
    sidecars[1].write_text(json.dumps({**json.loads(sidecars[1].read_text()), "interrupted": True}))
    with pytest.raises(InputError, match=r"run.json: its run was interrupted; delete"):
        gather(RUNS, metrics, sidecars, draft=True)


def test_damaged_and_foreign_files_are_one_line(written):
    metrics, sidecars = written
    whole = sidecars[0].read_text()
    for text, reason in (
        ("", "is no record of a run"),
        ("[]", "is no record of a run"),
        ('{"run": "labels/a"}', "is no record of a run"),
        ('{"run": "labels/a", "code": "a", "identity": 3}', "is no record of a run"),
        (whole.replace("labels/a", "labels/z"), "is the record of run labels/z"),
    ):
        sidecars[0].write_text(text)
        with pytest.raises(InputError, match=reason):
            gather(RUNS, metrics, sidecars, draft=True)
    sidecars[0].write_text(whole)
    metrics[0].write_text(metrics[0].read_text().replace("labels/a", "labels/z"))
    with pytest.raises(InputError, match="does not hold the rows of run labels/a"):
        gather(RUNS, metrics, sidecars, draft=True)
    metrics[0].write_text(metrics[0].read_text() + "one,field,too,many" + ",x" * 20 + "\n")
    with pytest.raises(InputError, match="is no metrics CSV"):
        gather(RUNS, metrics, sidecars, draft=True)
    metrics[0].write_text(metrics[0].read_text().splitlines()[0] + "\n")
    with pytest.raises(InputError, match="does not hold the rows"):
        gather(RUNS, metrics, sidecars, draft=True)
