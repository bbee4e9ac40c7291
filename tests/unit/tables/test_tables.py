"""The tables from made-up rows: what they show, what they refuse, and their three forms."""

import io
import shutil
import subprocess

import pandas as pd
import pytest

from gradleak import published
from gradleak.errors import InputError
from gradleak.measured import distinct
from gradleak.tables.all import build, kinds
from gradleak.tables.base import Labels, Table
from gradleak.tables.batch_size_and_depth import blocks, depth, verdict
from gradleak.tables.render import to_csv, to_latex, to_markdown

LABELS = Labels(
    {"mnist": "MNIST", "cifar100-sample": "CIFAR-100 (20 images)"},
    {"fcn": "FCN-3", "lenet5-silu": "LeNet-5 (SiLU) & co_"},
    {"ilrg": "iLRG", "idlg": "iDLG"},
)
HAS_TEX = shutil.which("latexmk") is not None and shutil.which("pdflatex") is not None


@pytest.fixture(scope="module")
def sources(paper_folder):
    folder = paper_folder / "published"
    return {
        "published": published.load(folder / "ilrg.csv"),
        "rerun": published.load_rerun(folder / "rerun.csv"),
    }


@pytest.fixture(scope="module")
def frame(made_up) -> pd.DataFrame:
    right = {("ilrg", metric): value for metric, value in (("leacc", 1.0), ("lnacc", 0.994), ("irec", 1.0))}
    parts = [made_up("mnist", "fcn", 24, values=right)]
    parts += [made_up("mnist", "fcn", size) for size in (64, 128)]
    parts += [made_up("mnist", "fcn-n_hidden=3", 64), made_up("cifar100-sample", "lenet5-silu", 16)]
    return distinct(pd.concat(parts))


def make(kind: str, frame: pd.DataFrame, sources: dict, **more) -> Table:
    return build(kind, frame, sources["published"], LABELS, rerun=sources["rerun"], **more)


def cells(table: Table) -> list[tuple[str, ...]]:
    return [line.cells for line in table.lines if line.cells]


@pytest.mark.parametrize("kind", kinds())
def test_lines_fit_the_columns(kind, frame, sources):
    table = make(kind, frame, sources)
    assert {len(line) for line in cells(table)} == {len(table.columns)}


def test_comparison_shows_measured_published_and_floor(frame, sources):
    lines = cells(make("comparison", frame, sources))
    measured, figures, blank = lines[:3]
    assert measured[:5] == ("FCN-3", "24", "measured", "1.000 ± 0.000", "0.994 ± 0.000")
    assert figures[:6] == ("MNIST", "3×4", "published", "1.000", "0.994", "1.000")
    assert figures[6:] == ("0.979", "0.514", "1.000", "0.932")
    assert blank[2:6] == ("blank answer", "0.080", "0.080", "0.000")
    silu = lines[-2]
    assert silu[0] == "CIFAR-100 (20 images)"
    assert silu[3] == "1.000 (B=24)"
    assert silu[7] == "0.089/0.150 (B=24)"


def test_comparison_gives_the_confidence_interval_in_numbers(frame, sources):
    numbers = make("comparison", frame, sources).numbers
    row = numbers.iloc[0]
    assert row["ilrg_lnacc_mean"] == pytest.approx(0.994)
    assert row["ilrg_lnacc_verdict"] == "agrees"
    assert row["idlg_leacc_verdict"] == "differs"
    assert numbers.iloc[-1]["idlg_leacc_verdict"] == "—"
    assert numbers.iloc[-1]["idlg_leacc_published_batch_size"] == 24


def test_batch_size_and_depth_judges(frame, sources):
    table = make("batch_size_and_depth", frame, sources)
    headings = [line.heading for line in table.lines if line.heading]
    assert headings[:2] == ["Batch size: FCN-3, MNIST", "Depth: FCN, MNIST, B=64"]
    assert headings[2:] == ["Single settings: CIFAR-100 (20 images)"]
    first, second = cells(table)[:2]
    assert first[0] == "B=24"
    assert first[-2] == "agrees"
    assert second[-2] == "differs"
    assert second[5] == "0.598*"
    assert set(table.numbers["block"]) == {"batch size", "depth", "other"}
    assert {"f1_mean", "count_l1_mean", "exact_match_mean", "floor_uniform_lnacc"} <= set(table.numbers)


def test_one_initialisation_has_no_verdict(made_up, sources):
    frame = pd.concat([made_up("mnist", "fcn", size, model_seeds=(1,)) for size in (32, 128)])
    line = cells(make("batch_size_and_depth", frame, sources))[0]
    assert line[1] == "1×4"
    assert "[t: " in line[2]
    assert line[-2] == "n/a"


def test_diverged_tries_are_shown(frame, sources):
    some = frame.copy()
    of_ilrg = (some["method"] == "ilrg") & (some["batch_size"] == 24) & (some["trial"] == 0)
    some.loc[of_ilrg, "status"] = "diverged"
    assert cells(make("comparison", some, sources))[1][1] == "3×3 (3 div.)"
    some.loc[some["method"] == "ilrg", "status"] = "diverged"
    assert cells(make("comparison", some, sources))[0][3] == "diverged"


def test_agreement_has_a_line_per_published_figure(frame, sources):
    table = make("agreement", frame, sources)
    assert table.long
    assert len(cells(table)) == len(table.numbers)
    log = "Experiment2/dnn+mnist+batchsize/exp5"
    row = table.numbers.query(f"source_log == {log!r} and metric == 'lnacc'").iloc[0]
    assert (row["published"], row["verdict"], row["rerun_n"]) == (0.386, "differs", 5)
    assert row["rerun_mean"] == pytest.approx(0.221)
    # The sample of CIFAR-100 is measured at no published batch size.
    assert "cifar100" not in set(table.numbers["dataset"])


def test_agreement_without_any_exact_setting(made_up, sources):
    table = make("agreement", made_up("cifar100-sample", "lenet5", 4), sources)
    assert not table.lines
    assert "No published setting" in table.note


@pytest.mark.parametrize("kind", ["comparison", "batch_size_and_depth"])
def test_a_missing_cell_fails_unless_draft(kind, frame, sources):
    holey = frame[~((frame["metric"] == "lnacc") & (frame["batch_size"] == 64) & (frame["method"] == "ilrg"))]
    with pytest.raises(InputError, match=r"table mine: run .*B=64.* no lnacc of ilrg.*draft"):
        make(kind, holey, sources, name="mine")
    assert any("?" in line for line in cells(make(kind, holey, sources, draft=True)))


def test_unknown_kind_and_own_caption(frame, sources):
    with pytest.raises(InputError, match="unknown table kind 'pie'; known: agreement, batch_size_and_depth"):
        make("pie", frame, sources)
    assert make("comparison", frame, sources, caption="Mine").caption == "Mine"


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("fcn", ("FCN", 1)),
        ("fcn-n_hidden=0", ("FCN", 0)),
        ("vgg16", ("VGG", 16)),
        ("vgg16-dropout", ("VGG-dropout", 16)),
        ("resnet152", ("ResNet", 152)),
        ("lenet5", None),
        ("fcn-n_dim=10", None),
    ],
)
def test_depth(model, expected):
    assert depth(model) == expected


def test_blocks_sort_and_lose_nothing():
    base = {"dataset": "mnist", "stage": "untrained", "distribution": "random", "defense": "none"}
    settings = [base | {"model": m, "batch_size": b} for m, b in (("fcn", 64), ("fcn", 8), ("vgg11", 4))]
    assert [(axis, [cell["batch_size"] for cell in group]) for axis, group in blocks(settings)] == [
        ("batch size", [8, 64]),
        ("other", [4]),
    ]


def test_verdict_of_a_setting():
    assert verdict({"a": "agrees", "b": "differs"}) == "differs"
    assert verdict({"a": "agrees", "b": "—"}) == "agrees"
    assert verdict({"a": "agrees", "b": "n/a"}) == "n/a"
    assert verdict({"a": "—"}) == "—"


def test_csv_is_in_full_precision(frame, sources):
    table = make("comparison", frame, sources)
    back = pd.read_csv(io.StringIO(to_csv(table)))
    assert back["rlg_leacc_sd"].to_list() == table.numbers["rlg_leacc_sd"].to_list()


def test_markdown_is_a_pipe_table(frame, sources):
    text = to_markdown(make("batch_size_and_depth", frame, sources))
    lines = [line for line in text.splitlines() if "|" in line]
    assert len({line.count("|") for line in lines}) == 1


def test_latex_is_escaped_and_labelled(frame, sources, paper_folder):
    text = to_latex(make("comparison", frame, sources), "one", paper_folder / "templates" / "table.tex.j2")
    assert r"LeNet-5 (SiLU) \& co\_" in text
    assert r"\label{tab:one}" in text
    assert r"1.000\,\ensuremath{\pm}\,0.000" in text


@pytest.mark.latex
@pytest.mark.skipif(not HAS_TEX, reason="no latexmk or pdflatex: `make tex` installs them")
def test_latex_compiles(frame, sources, paper_folder, tmp_path):
    template = paper_folder / "templates" / "table.tex.j2"
    for kind in kinds():
        (tmp_path / f"{kind}.tex").write_text(to_latex(make(kind, frame, sources), kind, template))
    packages = "\n".join(rf"\usepackage{{{name}}}" for name in ("booktabs", "graphicx", "longtable"))
    inputs = "\n".join(rf"\input{{{kind}.tex}}" for kind in kinds())
    document = rf"\documentclass{{article}}{packages}\begin{{document}}{inputs}\end{{document}}"
    (tmp_path / "main.tex").write_text(document)
    command = ["latexmk", "-pdf", "-interaction=nonstopmode", "-halt-on-error", "main.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
