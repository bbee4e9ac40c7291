"""The file of figures from a GPU, and its columns in the agreement table; all rows are artificial."""

import json
from typing import Any

import pandas as pd
import pytest

from gradleak.errors import InputError
from gradleak.records import SCHEMA
from gradleak.report import gpu, published
from gradleak.report.tables.base import Labels, Table, build

RECORD: dict[str, Any] = {
    "device": "cuda:0",
    "commit": "0123456789abcdef",
    "dirty": False,
    "packages": {"torch": "1.2.3"},
    "hardware": {"processor": "p", "cores": 1, "gpu": "Test GPU", "cuda": "1.0", "cudnn": 1},
}
ONE = {"methods": ("ilrg",), "analysis": True}


@pytest.fixture(scope="module")
def figures(paper_folder) -> pd.DataFrame:
    return published.load(paper_folder / "published" / "ilrg.csv")


@pytest.fixture
def file(made_up, tmp_path):
    """Return the path of a file with one setting that needs a GPU and one that does not."""
    frames = [made_up("cifar100", "vgg16", 64, stage="epoch100", level=0.5, **ONE), made_up("mnist", "fcn", 24, **ONE)]
    rows = gpu.summary_of(pd.concat(frames))
    path = tmp_path / "gpu.json"
    gpu.write(path, gpu.Document(made_on=gpu.makers([RECORD, RECORD]), parts={}, rows=rows))
    return path


def table(frame: pd.DataFrame, figures: pd.DataFrame, **more: Any) -> Table:
    return build("agreement", frame, figures, Labels(), **more)


def cells(made: Table, log: str) -> list[tuple[str, ...]]:
    at = next(place for place, line in enumerate(made.lines) if line.heading.startswith(f"{log}:"))
    below = made.lines[at + 1 :]
    return [line.cells for line in below[: next((i for i, line in enumerate(below) if line.heading), len(below))]]


def test_a_gpu_has_columns_of_its_own_and_fills_lines_that_nothing_else_measured(made_up, figures, file):
    frame = made_up("mnist", "fcn", 24)
    plain, made = table(frame, figures), table(frame, figures, gpu=gpu.load(file))
    assert [column.group for column in made.columns[len(plain.columns) :]] == ["GPU"] * 4
    assert "Test GPU, commit 0123456" in made.caption
    both = cells(made, "Experiment1/exp1")
    assert [line[: len(plain.columns)] for line in both] == cells(plain, "Experiment1/exp1")
    assert both[0][-4] == "3×4"
    assert both[3][0] == "idlg"
    assert both[3][-4:] == ("", "", "", "")  # the GPU ran iLRG alone
    alone = cells(made, "TrainingStage/CIFAR100/exp11")
    assert alone[0][:4] == ("ilrg", "LeAcc", "", "")
    assert alone[0][6:10] == ("", "", "", "")
    assert alone[0][-4:-2] == ("3×4", "0.500")
    assert alone[0][-1] in ("agrees", "differs")
    assert not any(line.heading.startswith("TrainingStage/CIFAR100/exp10") for line in made.lines)
    assert "TrainingStage" not in plain.note + "".join(line.heading for line in plain.lines)


def test_a_line_of_a_gpu_alone_is_in_the_order_of_the_published_file_and_not_run_here(made_up, figures, file):
    made = table(made_up("mnist", "fcn", 24), figures, gpu=gpu.load(file))
    numbers = made.numbers
    assert len(numbers) == len(figures)
    alone = numbers[numbers["source_log"] == "TrainingStage/CIFAR100/exp11"]
    assert set(alone["verdict"]) == {"not run"}
    assert set(alone["gpu_verdict"]) <= {"agrees", "differs"}
    headings = [line.heading.split(":")[0] for line in made.lines if line.heading]
    order = list(figures["source_log"].unique())
    assert headings == sorted(headings, key=order.index)


def test_the_verdict_is_that_of_the_interval_of_its_initialisations(made_up, figures, tmp_path):
    for level, verdict in ((1.0, "agrees"), (0.2, "differs")):
        values = {("ilrg", metric): level for metric in ("leacc", "lnacc", "irec")}
        rows = gpu.summary_of(made_up("cifar100", "lenet5", 128, values=values, **ONE))
        gpu.write(tmp_path / "g.json", gpu.Document(made_on=gpu.makers([RECORD]), parts={}, rows=rows))
        made = table(made_up("mnist", "fcn", 24), figures, gpu=gpu.load(tmp_path / "g.json"))
        log = "Experiment2/lenet5+cifar100+batchsize/exp3"
        assert [line[-1] for line in cells(made, log)[:3]] == [verdict] * 3


def test_only_published_metrics_are_kept(file):
    rows = json.loads(file.read_text())["rows"]
    assert {(row["method"], row["metric"]) for row in rows} <= set(published.VALUES.values())
    assert {row["n_trials"] for row in rows} == {12}


def test_jobs_that_differ_in_nothing_are_one_entry():
    other = {**RECORD, "commit": "fedcba"}
    found = gpu.makers([other, RECORD, RECORD])
    assert [(maker.commit, maker.jobs) for maker in found] == [(RECORD["commit"], 2), ("fedcba", 1)]


def edited(file, **changes: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def test_results_of_a_cpu_are_refused(file):
    edited(file, made_on=[json.loads(gpu.makers([{**RECORD, "hardware": {}}])[0].model_dump_json())])
    with pytest.raises(InputError, match=r"gpu\.json: has results of a CPU, so it is of a trial run"):
        gpu.load(file)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema_version": SCHEMA + 1}, rf"columns are of version {SCHEMA + 1}, now {SCHEMA}"),
        ({"rows": 3}, r"is not a file of bench/gpu\.sh \(rows: "),
        ({"rows": [{"mean": "much"}]}, r"rows: .*much"),
    ],
)
def test_a_damaged_file_is_refused_in_one_line(file, changes, message):
    edited(file, **changes)
    with pytest.raises(InputError, match=message) as caught:
        gpu.load(file)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"none\.json: cannot be read"):
        gpu.load(tmp_path / "none.json")
