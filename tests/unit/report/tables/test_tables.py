"""Tables from artificial rows: content, refusals, and forms."""

import io
import re
import shutil
import subprocess

import pandas as pd
import pytest

from gradleak.errors import InputError
from gradleak.plan.catalogue import IMAGES, find, names
from gradleak.report import published
from gradleak.report.summary import distinct
from gradleak.report.tables.base import Labels, Table, build
from gradleak.report.tables.judged import verdict
from gradleak.report.tables.render import to_csv, to_html, to_latex, to_markdown

LABELS = Labels(
    {"mnist": "MNIST", "cifar100-sample": "CIFAR-100 (20 images)"},
    {"fcn": "FCN-3", "lenet5-silu": "LeNet-5 (SiLU) & co_"},
    {"ilrg": "iLRG", "idlg": "iDLG"},
    {"dp-0.01": "noise 1e-2", "clip-4+dp-0.01": "clipping at 4 + noise 1e-2"},
)
OF_LABELS = [kind for kind in names("tables") if IMAGES not in find("tables", kind).needs]
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


@pytest.fixture(scope="module")
def stages(made_up) -> pd.DataFrame:
    """Rows of a victim at three stages with one attack and its error analysis, one of them defended."""
    one = {"methods": ("ilrg",), "analysis": True}
    parts = [made_up("mnist", "fcn", 8, stage=stage, **one) for stage in ("iter1000", "iter100", "untrained")]
    parts.append(made_up("mnist", "fcn", 8, defense="clip-4+dp-0.01", **one))
    parts.append(made_up("cifar100", "vgg16", 24, distribution="custom_imbalanced", **one))
    return distinct(pd.concat(parts))


def make(kind: str, frame: pd.DataFrame, sources: dict, **more) -> Table:
    return build(kind, frame, sources["published"], LABELS, rerun=sources["rerun"], **more)


def cells(table: Table) -> list[tuple[str, ...]]:
    return [line.cells for line in table.lines if line.cells]


@pytest.mark.parametrize("kind", OF_LABELS)
def test_lines_fit_the_columns(kind, stages, sources):
    table = make(kind, stages, sources)
    assert {len(line) for line in cells(table)} == {len(table.columns)}


def test_stages_are_sorted_and_show_the_victim(stages, sources):
    table = make("training_stage", stages, sources)
    assert next(line.heading for line in table.lines if line.heading) == "FCN-3, MNIST, B=8"
    lines = cells(table)[:3]
    assert [line[0] for line in lines] == ["untrained", "100 iterations", "1000 iterations"]
    assert [line[2] for line in lines] == ["—", "0.900", "0.900"]
    assert lines[1][8] == "0.613*"  # IRec as published for 100 iterations
    assert table.numbers["victim_accuracy_sd"].iloc[1] == pytest.approx(0.01)


def test_defenses_are_named_in_their_order(stages, sources):
    table = make("defenses", stages, sources)
    assert ["none", "clipping at 4 + noise 1e-2"] in [
        [line.cells[0] for line in table.lines[i : i + 2] if line.cells] for i in range(len(table.lines))
    ]


def test_extreme_batches_show_restored_instances(stages, sources):
    table = make("extreme_distribution", stages, sources)
    custom = next(line for line in cells(table) if "/" in line[2])
    assert custom[:3] == ("B=24", "3×4", "1.0 / 22.0 / 1.0")
    assert custom[4] == "1.000*"


def test_error_analysis_has_a_block_per_setting(stages, sources):
    table = make("error_analysis", stages, sources)
    headings = [line.heading for line in table.lines if line.heading]
    assert headings[0] == "vgg16, cifar100, B=24, custom imbalanced (n: 3×4)"
    assert headings[1:3] == ["FCN-3, MNIST, B=8 (n: 3×4)", "FCN-3, MNIST, B=8, clipping at 4 + noise 1e-2 (n: 3×4)"]
    first = cells(table)[0]
    assert first[1].startswith("9.0e−6 [")
    assert len(table.numbers) == 10 * 5


def test_errors_are_judged_at_their_own_scale(made_up, sources):
    table = make("soteria_embedding", made_up("cifar100", "vgg16", 64, tries=3, analysis=True), sources)
    (line,) = cells(table)
    assert line[0] == "untrained"
    assert line[3] == "1.6e−5*"  # published 1.613152e-05
    row = table.numbers.iloc[0]
    assert row["embedding_mse_verdict"] == "differs"
    assert row["soteria_embedding_mse_published"] == pytest.approx(2.633329e-04)


def test_comparison_shows_measured_published_and_floor(frame, sources):
    lines = cells(make("comparison", frame, sources))
    measured, figures, blank = lines[:3]
    assert measured[:5] == ("FCN-3", "24", "measured", "1.000 [1.000, 1.000]", "0.994 [0.994, 0.994]")
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


def test_intervals_of_shares_stay_between_0_and_1(made_up, sources):
    """LeAcc of 0, 1, 1: mean 0.667 ± 1.434."""
    frame = made_up("mnist", "fcn", 24)
    of_idlg = (frame["method"] == "idlg") & (frame["metric"] == "leacc")
    frame.loc[of_idlg, "value"] = (frame.loc[of_idlg, "model_seed"] > 1).astype(float)
    table = make("comparison", frame, sources)
    assert cells(table)[0][7] == "0.667 [0.000, 1.000]"
    assert "Intervals are clipped to the range of their metric." in table.note
    row = table.numbers.iloc[0]
    assert (row["idlg_leacc_ci_low"], row["idlg_leacc_ci_high"]) == (0.0, 1.0)


def test_batch_size_and_depth_judges(frame, sources):
    table = make("batch_size_and_depth", frame[~frame["method"].isin(["idlg", "gi", "rlg"])], sources)
    headings = [line.heading for line in table.lines if line.heading]
    assert headings[:2] == ["Batch size: FCN-3, MNIST", "Depth: FCN, MNIST, B=64"]
    assert headings[2:] == ["Single settings: CIFAR-100 (20 images)"]
    first, second = cells(table)[:2]
    assert first[0] == "B=24"
    assert first[-2] == "agrees"
    assert second[-2] == "differs"
    assert second[5] == "0.598*"
    assert len(table.numbers) == len(cells(table))
    assert {"f1_mean", "count_l1_mean", "exact_match_mean", "floor_uniform_lnacc"} <= set(table.numbers)


def test_one_initialisation_has_no_verdict(made_up, sources):
    frame = pd.concat([made_up("mnist", "fcn", size, model_seeds=(1,), methods=("ilrg",)) for size in (32, 128)])
    line = cells(make("batch_size_and_depth", frame, sources))[0]
    assert line[1] == "1×4"
    assert "[t: " in line[2]
    assert line[-2] == "undecided"


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
    assert len(cells(table)) == (table.numbers["verdict"] != "not run").sum()
    log = "Experiment2/dnn+mnist+batchsize/exp5"
    row = table.numbers.query(f"source_log == {log!r} and metric == 'lnacc'").iloc[0]
    assert (row["published"], row["verdict"], row["rerun_n"]) == (0.386, "differs", 5)
    assert row["rerun_mean"] == pytest.approx(0.221)
    # The sample of CIFAR-100 is measured at no published batch size.
    run = table.numbers[table.numbers["verdict"] != "not run"]
    assert "cifar100" not in set(run["dataset"])


def test_agreement_lists_each_log_that_was_not_run_by_what_it_needs(frame, sources, paper_folder):
    table = make("agreement", frame, sources)
    headings = [line.heading.split(": ")[0] for line in table.lines if line.heading]
    run = table.numbers[table.numbers["verdict"] != "not run"]
    assert set(headings) == set(run["source_log"])
    missing = set(sources["published"]["source_log"]) - set(headings)
    count, *groups = re.split(r" (?=Not in this grid|Needs )", table.note)
    assert f"({len(missing)}; " in count
    assert [group.split(":")[0] for group in groups] == [
        "Not in this grid",
        "Needs ImageNet",
        "Needs a victim trained on a GPU",
    ]
    assert "vgg16: B=24, 64" in groups[1]
    assert "imagenet" not in groups[1]  # its label may name the images that were used
    assert "B=64 (10 epochs / 20 epochs / 40 epochs" in groups[2]  # in the order of their numbers
    assert len(table.numbers) == len(sources["published"])
    assert missing < set(table.numbers["source_log"])
    page = paper_folder.parent / "workflow" / "report" / "table.html.j2"
    for text in (to_markdown(table), to_html(table, "t", page)):
        assert "Needs ImageNet: " in text


def test_agreement_without_any_exact_setting(made_up, sources):
    table = make("agreement", made_up("cifar100-sample", "lenet5", 4), sources)
    assert not cells(table)
    assert "No published setting" in table.note


@pytest.mark.parametrize("kind", ["comparison", "batch_size_and_depth", "class_distribution"])
def test_a_missing_cell_fails_unless_draft(kind, frame, sources):
    holey = frame[~((frame["metric"] == "lnacc") & (frame["batch_size"] == 64) & (frame["method"] == "ilrg"))]
    with pytest.raises(InputError, match=r"table mine: run .*B=64.* no lnacc of ilrg.*draft"):
        make(kind, holey, sources, name="mine")
    assert any("?" in line for line in cells(make(kind, holey, sources, draft=True)))


def test_unknown_kind_and_own_caption(frame, sources):
    with pytest.raises(InputError, match="unknown table kind 'pie'; known: agreement, batch_size_and_depth"):
        make("pie", frame, sources)
    assert make("comparison", frame, sources, caption="Mine").caption == "Mine"


def test_verdict_of_a_setting():
    assert verdict({"a": "agrees", "b": "differs"}) == "differs"
    assert verdict({"a": "agrees", "b": "—"}) == "agrees"
    assert verdict({"a": "agrees", "b": "undecided"}) == "undecided"
    assert verdict({"a": "—"}) == "—"


def test_csv_is_in_full_precision(frame, sources):
    table = make("comparison", frame, sources)
    back = pd.read_csv(io.StringIO(to_csv(table)))
    assert back["rlg_leacc_sd"].to_list() == table.numbers["rlg_leacc_sd"].to_list()


def test_markdown_is_a_pipe_table(frame, sources):
    text = to_markdown(make("batch_size_and_depth", frame, sources))
    lines = [line for line in text.splitlines() if "|" in line]
    assert len({line.count("|") for line in lines}) == 1


def test_html_is_a_complete_page(frame, sources, paper_folder):
    table = make("comparison", frame, sources)
    text = to_html(table, "one", paper_folder.parent / "workflow" / "report" / "table.html.j2")
    assert text.count("<tr") == 1 + len(table.lines)
    assert "LeNet-5 (SiLU) &amp; co_" in text
    assert text.rstrip().endswith("</html>")
    assert "http" not in text


def test_latex_is_escaped_and_labelled(frame, sources, paper_folder):
    text = to_latex(make("comparison", frame, sources), "one", paper_folder / "templates" / "table.tex.j2")
    assert r"LeNet-5 (SiLU) \& co\_" in text
    assert r"\label{tab:one}" in text
    assert "1.000 [1.000, 1.000]" in text


@pytest.mark.latex
@pytest.mark.skipif(not HAS_TEX, reason="no latexmk or pdflatex: `make tex` installs them")
def test_latex_compiles(stages, sources, paper_folder, tmp_path):
    template = paper_folder / "templates" / "table.tex.j2"
    for kind in OF_LABELS:
        (tmp_path / f"{kind}.tex").write_text(to_latex(make(kind, stages, sources), kind, template))
    packages = "\n".join(rf"\usepackage{{{name}}}" for name in ("booktabs", "graphicx", "longtable"))
    inputs = "\n".join(rf"\input{{{kind}.tex}}" for kind in OF_LABELS)
    document = rf"\documentclass{{article}}{packages}\begin{{document}}{inputs}\end{{document}}"
    (tmp_path / "main.tex").write_text(document)
    command = ["latexmk", "-pdf", "-interaction=nonstopmode", "-halt-on-error", "main.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout[-2000:]


def test_a_table_notes_the_side_knowledge_of_attacks(frame, sources):
    told = frame.assign(method=frame["method"].replace("ilrg", "ilrg-simplified:alpha=2"))
    both = pd.concat([frame, told[told["method"] == "ilrg-simplified:alpha=2"]])
    labels = Labels(
        method={"ilrg-simplified:alpha=2": "iLRG (known)"}, told={"ilrg-simplified:alpha=2": "present_classes"}
    )
    said = "iLRG (known) is told which classes are in the batch."
    for rows, notes in ((both, True), (frame, False)):
        table = build("class_distribution", rows, sources["published"], labels, rerun=sources["rerun"], draft=True)
        assert (said in table.note) == notes
