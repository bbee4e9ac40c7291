"""Results of several runs in one frame: only complete ones, of the claimed runs, computed by one code."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from tests.sidecars import ROW, write_record

from gradleak import records
from gradleak.errors import InputError
from gradleak.report import collect as gathering
from gradleak.report.collect import check_one_code, gather

RUNS = ("labels/a", "labels/b", "images/c")
TRIES = 3


@pytest.fixture
def written(tmp_path) -> tuple[list[Path], list[Path]]:
    metrics = [tmp_path / run / "metrics.csv" for run in RUNS]
    for path, run in zip(metrics, RUNS, strict=True):
        rows = [dataclasses.replace(ROW, run=run, trial=trial) for trial in range(TRIES)]
        records.write_rows(path, rows)
    identities = [{"kind": run.partition("/")[0]} for run in RUNS]
    sidecars = [
        write_record(path, run=run, identity=identity)
        for path, run, identity in zip(metrics, RUNS, identities, strict=True)
    ]
    return metrics, sidecars


def change(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def refused(written: tuple[list[Path], list[Path]], *, draft: bool = True) -> list[str]:
    with pytest.raises(InputError) as raised:
        gather(RUNS, *written, draft=draft)
    return str(raised.value).splitlines()


def test_rows_are_stacked_in_the_order_of_the_runs(written):
    assert list(dict.fromkeys(gather(RUNS, *written, draft=False)["run"])) == list(RUNS)


@pytest.mark.parametrize("now", ["aaaaaaaa", "bbbbbbbb", "cccccccc"])
def test_in_a_mixture_the_folders_not_of_the_present_code_are_named(written, monkeypatch, now):
    codes = {"labels": now, "images": "aaaaaaaa"}
    monkeypatch.setattr(gathering, "code_of_kinds", lambda program, kinds: codes[program])
    metrics, sidecars = written
    change(sidecars[1], code="bbbbbbbb")
    *named, last = refused(written, draft=False)
    others = [(0, "aaaaaaaa"), (1, "bbbbbbbb")]
    assert named == [
        f"{sidecars[i].parent}: was computed by code {code}; the present code is {now}"
        for i, code in others
        if code != now
    ]
    assert "delete these folders, or set draft: true" in last
    assert len(gather(RUNS, metrics, sidecars, draft=True)) == 3 * TRIES


@pytest.mark.parametrize(("first", "second"), [("aaaaaaaa", "bbbbbbbb"), ("old-aaaa", "old-bbbb")])
def test_code_is_compared_between_runs_of_equal_kinds(written, monkeypatch, first, second):
    """All by present code, or all by earlier code."""
    codes = {"ilrg": "aaaaaaaa", "gi": "bbbbbbbb"}
    monkeypatch.setattr(gathering, "code_of_kinds", lambda program, kinds: codes[next(iter(kinds))[1]])
    for sidecar, (method, code) in zip(written[1], [("ilrg", first), ("gi", second), ("ilrg", first)], strict=True):
        change(sidecar, kinds={"attacks": [method]}, code=code)
    assert len(gather(RUNS, *written, draft=False)) == 3 * TRIES


def test_earlier_and_present_code_are_not_mixed(written, monkeypatch):
    codes = {"ilrg": "aaaaaaaa", "gi": "bbbbbbbb"}
    monkeypatch.setattr(gathering, "code_of_kinds", lambda program, kinds: codes[next(iter(kinds))[1]])
    for sidecar, method in zip(written[1], ["ilrg", "gi", "ilrg"], strict=True):
        change(sidecar, kinds={"attacks": [method]})
    named, _ = refused(written, draft=False)
    assert named == f"{written[1][1].parent}: was computed by code aaaaaaaa; the present code is bbbbbbbb"


def test_results_of_one_earlier_code_are_accepted(written):
    check_one_code({path: json.loads(path.read_text()) for path in written[1]})


DAMAGES = {
    "cut at a line end": (lambda lines: lines[:-1], "it has 2 rows but its record says 3"),
    "a repeated row": (lambda lines: [*lines, lines[-1]], "it has 4 rows but its record says 3"),
    "repeated instead of another": (lambda lines: [*lines[:-1], lines[-2]], "it was edited"),
    "another number": (lambda lines: [*lines[:-1], lines[-1].replace("0.5", "0.75")], "it was edited"),
    "a text for a value": (lambda lines: [*lines[:-1], lines[-1].replace("0.5", "high")], "value is 'high', not a n"),
    "a text for a whole number": (lambda lines: [*lines[:-1], lines[-1].replace(",8,", ",eight,")], "size is 'eight'"),
    "a fraction for a whole number": (lambda lines: [*lines[:-1], lines[-1].replace(",8,", ",8.5,")], "size is '8.5'"),
    "nothing for a whole number": (lambda lines: [*lines[:-1], lines[-1].replace(",8,", ",,")], "batch_size is ''"),
    "a line that ends early": (lambda lines: [*lines[:-1], lines[-1][:12]], "stage_number is ''"),
    "a whole number beyond all": (
        lambda lines: [*lines[:-1], lines[-1].replace(",8,", f",{10**30},")],
        "batch_size is",
    ),
    "too many fields": (lambda lines: [*lines, "one,field,too,many" + ",x" * 40], "not a metrics CSV"),
    "the header alone": (lambda lines: lines[:1], "it has 0 rows but its record says 3"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_csv_is_named_with_what_to_do(written, damage):
    edit, reason = DAMAGES[damage]
    path = written[0][1]
    path.write_text("\n".join(edit(path.read_text().splitlines())) + "\n")
    (line,) = refused(written)
    assert line.startswith(f"{path}:")
    assert reason in line
    assert line.endswith("; delete it and run again")


def test_every_damaged_run_is_named_at_once(written):
    metrics, sidecars = written
    metrics[0].write_text(metrics[0].read_text() + "x\n")
    sidecars[2].unlink()
    assert [line.partition(":")[0] for line in refused(written)] == [str(metrics[0]), str(sidecars[2])]


RECORDS = {
    "empty": ("", "is not the record of a finished job"),
    "no JSON": ("{", "is not the record of a finished job"),
    "no object": ("[]", "is not the record of a finished job"),
    "lacks its code": ({"code": None}, "(code: "),
    "a text for a number": ({"seconds": "many"}, "(seconds: "),
    "an identity that is none": ({"identity": 3}, "(identity: "),
    "no kind": ({"identity": {}}, "(identity: kind: "),
    "of another run": ({"run": "labels/z"}, "is the record of run labels/z, not of labels/a"),
    "interrupted": ({"interrupted": True}, "its run was interrupted"),
    "of a version before digests": ({"metrics": None}, "an older version wrote it, without the digest of metrics.csv"),
    "of an older version": ({"schema": None}, "results of another version, whose columns differ (now the type in "),
    "of a newer version": (
        {"schema": records.SCHEMA + 1},
        "a newer version of gradleak wrote it; use that version, or ",
    ),
    "a digest that is none": ({"metrics": {"rows": 3}}, "(metrics: sha256: "),
}


@pytest.mark.parametrize("damage", RECORDS)
def test_a_damaged_record_is_named_with_what_to_do(written, damage):
    content, reason = RECORDS[damage]
    path = written[1][0]
    if isinstance(content, dict):
        change(path, **content)
    else:
        path.write_text(content)
    (line,) = refused(written)
    assert line.startswith(f"{path}: ")
    assert reason in line
    assert line.endswith("delete it and run again")


def test_rows_of_another_run_are_refused(written):
    metrics, _ = written
    metrics[0].write_text(metrics[0].read_text().replace("labels/a", "labels/z"))
    write_record(metrics[0], run="labels/a")
    assert refused(written) == [f"{metrics[0]}: does not contain the rows of run labels/a; delete it and run again"]


def test_values_of_rows_that_do_not_count_may_be_missing(written):
    metrics, sidecars = written
    lost = [dataclasses.replace(ROW, run=RUNS[0], status=status, value=float("nan"), trial=trial)
            for trial, status in enumerate(("diverged", "not applicable"))]  # fmt: skip
    records.write_rows(metrics[0], lost)
    write_record(metrics[0], run=RUNS[0])
    frame = gather(RUNS[:1], metrics[:1], sidecars[:1], draft=True)
    assert frame["value"].isna().tolist() == [True, True]
