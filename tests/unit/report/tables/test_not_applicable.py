"""Attacks that were not applicable: shown as such, and not counted."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from gradleak.errors import InputError
from gradleak.plan.catalogue import IMAGES, find, names
from gradleak.records import NOT_APPLICABLE
from gradleak.report import numbers as quoted
from gradleak.report import published, published_images
from gradleak.report.figures.base import build as draw
from gradleak.report.image_rows import Reconstructions
from gradleak.report.summary import Measured, distinct
from gradleak.report.tables.base import Labels, Table, build

OF_LABELS = [kind for kind in names("tables") if IMAGES not in find("tables", kind).needs]
_NEVER_ASKED = ["probability_cosine", "embedding_cosine", "output_cosine", "f1"]


@pytest.fixture(scope="module")
def figures(paper_folder) -> pd.DataFrame:
    return published.load(paper_folder / "published" / "ilrg.csv")


def withheld(frame: Any, *methods: str) -> Any:
    """Return the rows of a run whose client sends no gradient that the methods need: a few metrics, all NaN."""
    of_methods = frame["method"].isin(methods)
    analysed = frame["metric"].str.endswith(("_mse", "_mre")) | frame["metric"].isin(_NEVER_ASKED)
    frame = frame[~(of_methods & (analysed | (frame["metric"] == "seconds")))].copy()
    frame.loc[frame["method"].isin(methods), ["status", "value"]] = [NOT_APPLICABLE, np.nan]
    return frame


@pytest.fixture(scope="module")
def frame(made_up) -> pd.DataFrame:
    """An undefended victim, and one whose defense withholds what iLRG and iDLG need."""
    right = made_up("mnist", "fcn", 24, analysis=True)
    return distinct(
        pd.concat([right, withheld(made_up("mnist", "fcn", 24, defense="dp-0.01", analysis=True), "ilrg", "idlg")])
    )


def make(kind: str, frame: pd.DataFrame, figures: pd.DataFrame, **more) -> Table:
    return build(kind, frame, figures, Labels(), **more)


def cells(table: Table) -> list[tuple[str, ...]]:
    return [line.cells for line in table.lines if line.cells]


@pytest.mark.parametrize("kind", [kind for kind in OF_LABELS if kind != "agreement"])
def test_every_table_is_built_with_a_note(kind, frame, figures):
    table = make(kind, frame, figures)
    assert any("n/a" in line for line in cells(table))
    assert "not applicable, because the client does not send" in table.note
    assert not any("div" in text or "?" in text for line in cells(table) for text in line)
    means = [name for name in table.numbers if str(name).endswith("_n_not_applicable")]
    assert (table.numbers[means].max() > 0).any()


def test_such_tries_do_not_count(frame, figures):
    table = make("comparison", frame, figures)
    measured, _, blank = cells(table)[3:6]
    assert measured[3:] == ("n/a", "n/a", "n/a", "n/a", "n/a", "0.900 [0.875, 0.925]", "0.900 [0.875, 0.925]")
    assert cells(table)[4][1] == "n/a"
    assert blank[3] == "0.080"
    row = table.numbers.iloc[1]
    assert (row["ilrg_leacc_n_trials"], row["ilrg_leacc_n_diverged"], row["ilrg_leacc_n_not_applicable"]) == (0, 0, 12)
    assert np.isnan(row["ilrg_leacc_mean"])


def test_a_table_without_such_tries_has_no_note(made_up, figures):
    assert "not applicable" not in make("comparison", made_up("mnist", "fcn", 24), figures).note


def test_there_is_no_verdict_without_a_try(made_up, figures):
    frame = withheld(made_up("mnist", "fcn", 24, methods=("ilrg",)), "ilrg")
    (line,) = cells(make("batch_size_and_depth", frame, figures))
    assert (line[1], line[2], line[-2]) == ("n/a", "n/a", "—")
    agreement = make("agreement", frame, figures)
    of_ilrg = next(line for line in cells(agreement) if line[0] == "ilrg" and line[1] == "LeAcc")
    assert (of_ilrg[2], of_ilrg[3], of_ilrg[7]) == ("n/a", "n/a", "—")
    assert "not applicable" in agreement.note


def test_figures_of_a_method_that_was_not_applicable_are_not_listed_as_not_run(made_up, figures):
    """Including metrics that do not occur in its rows."""
    frame = withheld(made_up("mnist", "fcn", 24, methods=("ilrg",)), "ilrg")
    assert "probability_cosine" not in set(frame["metric"])
    table = make("agreement", frame, figures)
    (log,) = figures.loc[(figures["metric"] == "probability_cosine") & (figures["model"] == "fcn"), "source_log"].head(
        1
    )
    row = table.numbers.query(f"source_log == {log!r} and metric == 'probability_cosine'").iloc[0]
    assert (row["verdict"], row["basis"], row["n_not_applicable"]) == ("—", NOT_APPLICABLE, 12)
    line = next(line for line in cells(table) if line[1] == "prob. cos.")
    assert line[2:4] == ("n/a", "n/a")
    withheld_logs = table.numbers[table.numbers["source_log"] == log]
    assert set(withheld_logs.loc[withheld_logs["method"] == "ilrg", "verdict"]) == {"—"}


def test_other_missing_cells_still_fail(frame, figures):
    holey = frame[~((frame["method"] == "ilrg") & (frame["metric"] == "lnacc") & (frame["defense"] == "none"))]
    with pytest.raises(InputError, match="has no lnacc of ilrg"):
        make("comparison", holey, figures)


def test_a_method_that_only_diverged_has_no_missing_cells(made_up, figures):
    frame = withheld(made_up("mnist", "fcn", 24), "ilrg").replace({"status": {NOT_APPLICABLE: "diverged"}})
    assert cells(make("comparison", frame, figures))[0][3:6] == ("diverged",) * 3


def test_a_value_and_none_for_one_try_are_a_conflict(made_up):
    right = made_up("mnist", "fcn", 8)
    other = withheld(right, "ilrg").assign(run="labels/other")
    with pytest.raises(InputError, match="labels/other belong to one cell"):
        distinct(pd.concat([right, other]))


@pytest.mark.parametrize(("kind", "of_leacc"), [("accuracy_over_batch", 1 + 1 + 2 + 2), ("accuracy_over_defenses", 4)])
def test_figures_of_labels_leave_such_tries_out(kind, of_leacc, frame, figures):
    alone = frame[~frame["method"].isin(["idlg", "gi", "rlg"])]
    drawn = draw(kind, alone, figures, Labels())
    assert len(drawn.axes[0].collections) == 1
    assert not any("dp-0.01" in text.get_text() for text in drawn.legends[0].get_texts())
    with pytest.raises(InputError, match=r"figure .*: its experiments have no setting on which an attack could be tr"):
        draw(kind, alone[alone["defense"] != "none"], figures, Labels())
    both = draw(kind, frame, figures, Labels())
    assert [len(axes.collections) for axes in both.axes] == [
        1,
        of_leacc,
        1,
    ]  # GI and RLG are applicable on both settings


def test_figures_over_stages_leave_such_tries_out(made_up, figures):
    stages = [made_up("mnist", "fcn", 8, stage=stage) for stage in ("untrained", "iter100", "iter1000")]
    stages[1] = withheld(stages[1], "ilrg")
    drawn = draw("accuracy_over_stage", pd.concat(stages), figures, Labels())
    (line,) = [line for line in drawn.axes[0].get_lines() if line.get_linestyle() == "-"]
    assert np.asarray(line.get_xdata()).tolist() == [0, 1000]


@pytest.fixture(scope="module")
def pictures(made_up_images) -> pd.DataFrame:
    """IG, and IG with labels that cannot be restored from a defended client's gradient: rows of NaN."""
    other = made_up_images("mnist", "fcn", 8, clients=3, method="ig-ilrg", iterations=())
    attack = other["method"] == "ig-ilrg"
    other.loc[attack, ["status", "value"]] = [NOT_APPLICABLE, np.nan]
    return pd.concat([made_up_images("mnist", "fcn", 8, clients=3), other])


def test_image_attacks_are_shown_as_not_applicable(pictures):
    table = build("reconstruction", pictures, pd.DataFrame(), Labels(), images=published_images.empty())
    first, second = cells(table)
    assert "n/a" not in first
    assert second[:5] == ("ig-ilrg", "n/a", "0", "n/a", "n/a")
    assert "not applicable" in table.note
    found = Reconstructions.of(pictures)
    assert found.diverged_restarts(found.cells()[0], "ig-ilrg") == 0


def test_a_run_without_the_other_metrics_is_not_a_missing_cell(pictures):
    few = pictures[(pictures["status"] != NOT_APPLICABLE) | (pictures["metric"] == "psnr")]
    assert len(cells(build("reconstruction", few, pd.DataFrame(), Labels()))) == 2


@pytest.mark.parametrize("kind", ["psnr_over_defenses", "psnr_over_iterations"])
def test_figures_of_images_leave_such_tries_out(kind, pictures):
    drawn = draw(kind, pictures, pd.DataFrame(), Labels())
    assert [text.get_text() for text in drawn.legends[0].get_texts()] == ["ig"]
    with pytest.raises(InputError, match=f"figure {kind}: "):
        draw(kind, pictures[pictures["method"] != "ig"], pd.DataFrame(), Labels())


def test_pictures_leave_such_tries_out(pictures, write_archive, tmp_path):
    images = {run: write_archive(tmp_path, [0] * 8) for run in pictures["run"].unique()}
    drawn = draw("reconstruction_grid", pictures, pd.DataFrame(), Labels(), images=images)
    assert [text.get_text() for text in drawn.texts] == ["fcn, mnist, B=8", "original", "ig"]


def test_the_text_does_not_mention_such_tries(frame, pictures, figures, paper_folder):
    rerun = published.load_rerun(paper_folder / "published" / "rerun.csv")

    def said(**frames: pd.DataFrame) -> dict[str, str]:
        return quoted.gather(frames, figures, rerun, [], tables={}, figures={}, labels=Labels())

    both = said(labels=frame, images=pictures)
    assert {both[name] for name in ("diverged", "images/diverged", "images/dropped")} == {"0"}
    assert both["images/restored"] == "not measured in this build"
    assert (both["images/images"], both["images/batches"], both["images/methods"]) == ("24", "3", "ig")
    lost = said(labels=withheld(frame, "ilrg", "idlg", "gi", "rlg"))
    assert (lost["methods"], lost["published/covered"]) == ("", "0")


def test_every_metric_of_such_a_method_is_not_applicable(frame):
    measured = Measured(frame)
    cell = measured.cells()[1]
    assert {measured.value(cell, "ilrg", name).basis for name in ("leacc", "probability_cosine")} == {NOT_APPLICABLE}
    assert [measured.tried(cell, name) for name in ("ilrg", "gi", "never-asked")] == [False, True, False]
