"""A tiny grid from configuration to PDF on the CPU, and the effects of a second call, a change and a kill."""

import copy
import json
import re
import shutil
from html.parser import HTMLParser
from typing import Any

import pandas as pd
import pytest
from tests.workflow import RUNS, SMALL, Workflow

from gradleak import records

HAS_TEX = shutil.which("latexmk") is not None and shutil.which("pdflatex") is not None


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Workflow:
    workflow = Workflow(tmp_path_factory.mktemp("pipeline"))
    workflow.configure(SMALL)
    done = workflow.snakemake()
    assert done.returncode == 0, done.stdout
    return workflow


def test_every_run_has_metrics_and_provenance(finished):
    assert len(finished.files("runs/**/metrics.csv")) == RUNS
    for name in finished.files("runs/**/run.json"):
        record = json.loads((finished.folder / name).read_text())
        assert record["spec"]["num_tries"] == 2
        assert {"run", "commit", "dirty", "packages", "device", "hardware", "seconds"} <= set(record)
        assert name == f"results/runs/{record['run']}/run.json"


def test_experiments_hold_all_rows_of_their_runs(finished):
    frame: Any = pd.read_csv(finished.folder / "results/experiments/comparison.csv", keep_default_na=False)
    assert tuple(frame.columns) == (*records.COLUMNS, "experiment")
    assert frame["run"].nunique() == 4
    assert {"ilrg", "idlg", "gi", "rlg", "floor-blank", "floor-uniform", "job"} == set(frame["method"])
    assert frame.query("metric == 'leacc'")["value"].between(0, 1).all()


def test_methods_of_a_run_share_batches_and_seeds_differ(finished):
    frame: Any = pd.read_csv(finished.folder / "results/experiments/comparison.csv", keep_default_na=False)
    blank = frame.query("method == 'floor-blank' and metric == 'leacc' and dataset == 'mnist-sample'")
    # The accuracy of the blank answer depends on the batch's classes: equal for all victims of a trial.
    assert (blank.groupby("trial")["value"].nunique() == 1).all()
    assert blank["model_seed"].nunique() == 2


def test_tables_have_four_forms(finished):
    assert {f"results/tables/comparison.{suffix}" for suffix in ("csv", "html", "md", "tex")} <= finished.files(
        "tables/*"
    )
    text = (finished.folder / "results/tables/comparison.md").read_text()
    assert "FCN-3" in text
    assert "LeNet-5" in text


def test_figure_is_drawn(finished):
    assert {f"results/figures/accuracy_over_batch.{suffix}" for suffix in ("pdf", "png")} <= finished.files("figures/*")


@pytest.mark.latex
@pytest.mark.skipif(not HAS_TEX, reason="no latexmk or pdflatex: `make tex` installs them")
def test_the_paper_is_typeset(finished):
    pdf = finished.folder / "results/paper/main.pdf"
    assert pdf.read_bytes().startswith(b"%PDF")
    log = (finished.folder / "results/paper/main.log").read_text(errors="replace")
    assert "LaTeX Warning: Reference" not in log
    assert "LaTeX Warning: Citation" not in log


def test_a_second_call_plans_nothing(finished):
    done = finished.snakemake()
    assert done.returncode == 0
    assert "Nothing to be done" in done.stdout


def test_the_report_is_complete_and_needs_no_network(finished):
    made = finished.snakemake("--report", "results/report.html")
    assert made.returncode == 0, made.stdout
    text = (finished.folder / "results/report.html").read_text(encoding="utf-8")
    for name in ("comparison", "batch_size_and_depth", "accuracy_over_batch", "Threat model", "Tables", "Figures"):
        assert name in text
    # A browser must not load any script, style or image from elsewhere.
    assert not re.findall(r"""<(?:script|img|iframe)[^>]*\ssrc=["']?(?:https?:)?//""", text)
    assert not re.findall(r"""<link[^>]*\shref=["']?(?:https?:)?//""", text)


class _Scripts(HTMLParser):
    """The scripts of a page by id, as a browser reads them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: dict[str, str] = {}
        self._inside = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside = dict(attrs).get("id") or "" if tag == "script" else ""

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.found[self._inside] = self.found.get(self._inside, "") + data

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""


def test_user_text_cannot_break_the_scripts_of_the_report(finished):
    made = finished.snakemake("--report", "results/report.html")
    assert made.returncode == 0, made.stdout
    scripts = _Scripts((finished.folder / "results/report.html").read_text(encoding="utf-8")).found
    results = json.loads(scripts["results"].strip().removeprefix("var results = ").removesuffix(";"))
    assert {"results/tables/comparison.html", "results/figures/accuracy_over_batch.png"} <= set(results)


def test_user_text_is_shown_verbatim(finished):
    tables = finished.folder / "results/tables"
    page = (tables / "comparison.html").read_text()
    assert "Attacks &lt;/script&gt;&lt;script&gt;compared" in page
    assert "<script" not in page
    assert "\\</script>" in (tables / "comparison.md").read_text()
    numbers = pd.read_csv(tables / "batch_size_and_depth.csv", keep_default_na=False)
    assert set(numbers["group"]) == {"Batch size: FCN-3, =MNIST </script><b>(5k)"}


def test_results_survive_the_loss_of_snakemakes_metadata(finished):
    shutil.move(finished.folder / ".snakemake", finished.folder / "kept")
    try:
        assert "restore_labels" not in finished.planned()
    finally:
        shutil.rmtree(finished.folder / ".snakemake", ignore_errors=True)
        shutil.move(finished.folder / "kept", finished.folder / ".snakemake")


def test_changing_one_parameter_replans_only_its_runs(finished):
    changed: dict[str, Any] = copy.deepcopy(SMALL)
    changed["experiments"]["batch_size_and_depth"]["axes"][0]["batch_size"] = [8, 32]
    finished.configure(changed)
    try:
        jobs = finished.planned()
    finally:
        finished.configure(SMALL)
    assert jobs["restore_labels"] == 2
    assert jobs["collect"] == 1


def test_incomplete_metrics_stop_with_a_reason(finished):
    """Metrics without the rows of a method must not result in a paper with gaps."""
    name = sorted(finished.files("runs/**/metrics.csv"))[0]
    path = finished.folder / name
    whole = path.read_text()
    path.write_text("\n".join(line for line in whole.splitlines() if ",ilrg," not in line) + "\n")
    try:
        done = finished.snakemake()
        assert done.returncode != 0
        assert f"{name}: is not the file that was written" in done.stdout
    finally:
        path.write_text(whole)
        assert finished.snakemake().returncode == 0
