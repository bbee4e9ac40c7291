"""The table of reconstructed images from artificial rows."""

import pandas as pd
import pytest

from gradleak.errors import InputError
from gradleak.report import published_images
from gradleak.report.summary import distinct
from gradleak.report.tables.base import Labels, Table, build
from gradleak.report.tables.render import to_latex

LABELS = Labels(
    {"mnist": "MNIST", "cifar100": "CIFAR-100"},
    {"fcn": "FCN-3"},
    {"ig": "IG", "ig-ilrg": "IG (iLRG labels)"},
    {"dp-0.01": "noise 1e-2"},
)


@pytest.fixture(scope="module")
def figures(paper_folder) -> pd.DataFrame:
    return published_images.load(paper_folder / "published" / "images.csv")


@pytest.fixture(scope="module")
def frame(made_up_images) -> pd.DataFrame:
    at = {"model_seeds": (1, 2, 3), "iterations": (1, 8000)}
    levels = {"ig": 17.0, "ig-ilrg": 18.79, "ig-truth": 19.0}  # images differ by 0 to 49 dB, on average 24.5
    parts = [made_up_images("mnist", "fcn", 50, method=name, psnr=levels[name] - 24.5, **at) for name in levels]
    parts.append(made_up_images("cifar100", "lenet", 1, method="ig", clients=4, diverged=(3,)))
    parts.append(made_up_images("cifar100", "lenet", 4, method="ig", clients=4, aggregated=True))
    return distinct(pd.concat(parts))


def make(frame: pd.DataFrame, figures: pd.DataFrame | None, **more) -> Table:
    return build("reconstruction", frame, pd.DataFrame(), LABELS, images=figures, **more)


def lines(table: Table) -> list[tuple[str, ...]]:
    return [line.cells for line in table.lines if line.cells]


def header(table: Table) -> list[str]:
    return [f"{column.group} {column.header}".strip() for column in table.columns]


def test_a_block_per_setting_and_a_line_per_attack(frame, figures):
    table = make(frame, figures)
    headings = [line.heading for line in table.lines if line.heading]
    assert headings == ["FCN-3, MNIST, B=50", "lenet, CIFAR-100, B=1", "lenet, CIFAR-100, B=4, 4 clients aggregated"]
    assert [line[0] for line in lines(table)] == ["IG", "IG (iLRG labels)", "ig-truth", "IG", "IG"]
    assert {len(line) for line in lines(table)} == {len(table.columns)}


def test_measured_beside_published_with_a_verdict(frame, figures):
    first, second, third = lines(make(frame, figures))[:3]
    assert first[1:6] == ("3×1", "150", "17.02 [16.97, 17.07]", "11.84*", "differs")
    assert second[3:6] == ("18.81 [18.76, 18.86]", "18.81", "agrees")
    assert third[4:6] == ("—", "—")


def test_batches_of_one_initialisation_have_an_interval_and_no_verdict(frame, figures):
    single = lines(make(frame, figures))[3]
    assert single[1:3] == ("1×3 (1 div.)", "3")
    assert single[3].startswith("19.01 [t: ")
    assert single[header(make(frame, figures)).index("Div.")] == "2"
    assert lines(make(frame, figures))[4][3] == "19.51"  # one batch: no interval at all


def test_the_best_six_are_for_comparison_only(frame, figures):
    table = make(frame, figures)
    assert header(table)[-2:] == ["Best six (comparison only) measured", "Best six (comparison only) publ."]
    # Images 44 to 49 of 50.
    assert lines(table)[0][-2:] == ("39.02", "12.95")
    assert lines(table)[3][-2:] == ("—", "—")
    assert "chosen by the truth" in table.note
    assert "for comparison only" in table.note
    assert "24,000 (CIFAR-100) or 8,000 (MNIST) iterations" in table.note


def test_empty_columns_are_left_out(made_up_images):
    table = make(made_up_images("mnist", "fcn", 2, defense="dp-0.01@all"), published_images.empty())
    first, last = ["Attack", "n", "Images", "PSNR in dB measured"], ["Labels", "Div.", "s"]
    assert header(table) == [*first, "SSIM", "MSE", "Feat.", *last]
    assert "Published" not in table.note
    assert table.lines[0].heading == "FCN-3, MNIST, B=2, noise 1e-2 (all layers)"


def test_lpips_is_shown_where_it_was_measured(made_up_images):
    table = make(made_up_images("mnist", "fcn", 2, more={"lpips": 0.25}), None)
    assert lines(table)[0][header(table).index("LPIPS")] == "0.250"


def test_numbers_have_full_precision(frame, figures):
    numbers = make(frame, figures).numbers
    row = numbers.iloc[1]
    assert (row["psnr_published"], row["psnr_verdict"], row["psnr_six_published"]) == (18.81, "agrees", 19.02)
    assert (row["images"], row["last_snapshot"]) == (150, 8000)
    assert numbers["diverged_restarts"].to_list() == [0, 0, 0, 2, 0]


@pytest.fixture(scope="module")
def guided(made_up_images) -> pd.DataFrame:
    """IG and an attack with a prior that gains 1, 2 and 6 dB on the three initialisations; and IG with true labels."""
    at = {"model_seeds": (1, 2, 3)}
    parts = [made_up_images("mnist", "lenet", 2, method=name, **at) for name in ("ig-ilrg", "ig-truth", "dps")]
    gain = parts[2]["model_seed"].map({1: 1.0, 2: 2.0, 3: 6.0})
    parts[2]["value"] += gain.where(parts[2]["metric"] == "psnr", 0.0)
    parts[2] = parts[2].assign(kind="diffusion", run=parts[2]["run"].str.replace("images", "diffusion", n=1))
    return distinct(pd.concat(parts))


def policies(frame: pd.DataFrame) -> dict[str, str]:
    return {run: "truth" if "ig-truth" in run else "ilrg" for run in frame["run"]}


def test_an_attack_with_a_prior_has_a_paired_difference_to_the_one_without(guided):
    table = make(guided, None, policies=policies(guided))
    at = header(table).index("Difference in dB to matching alone IG (iLRG labels)")
    # Gains 1, 2, 6: mean 3, sd 2.645751, t(0.975, 2) = 4.302653, half-width 6.572411.
    assert [line[at] for line in lines(table)] == ["", "", "+3.00 [−3.57, 9.57]"]
    assert sum("Difference" in name for name in header(table)) == 1  # ig-truth gets its labels differently
    assert "An interval that contains 0 shows no difference." in table.note
    row = table.numbers.iloc[2]
    assert row["psnr_minus_ig-ilrg_mean"] == pytest.approx(3.0)
    assert row["psnr_minus_ig-ilrg_ci_low"] == pytest.approx(3 - 6.572411, abs=1e-6)
    assert (row["psnr_minus_ig-ilrg_n_trials"], row["psnr_minus_ig-ilrg_basis"]) == (3, "initialisations")


def test_a_table_without_both_has_no_such_column(guided):
    alone = guided[guided["kind"] == "images"]
    for frame, known in ((alone, policies(alone)), (guided, {})):
        table = make(frame, None, policies=known)
        assert not any("Difference" in name for name in header(table))
        assert "Difference" not in table.note


def test_a_missing_metric_fails_unless_draft(frame, figures):
    holey = frame[~((frame["metric"] == "ssim") & (frame["method"] == "ig-ilrg"))]
    with pytest.raises(InputError, match=r"table mine: run .*ig-ilrg has no ssim"):
        make(holey, figures, name="mine")
    assert "?" in lines(make(holey, figures, draft=True))[1]


def test_latex_is_made(frame, figures, paper_folder):
    text = to_latex(make(frame, figures), "reconstruction", paper_folder / "templates" / "table.tex.j2")
    assert r"\multicolumn{2}{c}{PSNR in dB}" in text
    assert r"\label{tab:reconstruction}" in text


def test_without_an_exact_setting_there_is_no_column_of_verdicts(made_up_images, figures):
    table = make(made_up_images("mnist-sample", "fcn", 16), figures)
    assert "Verdict" not in header(table)
    (line,) = lines(table)
    assert (line[4], line[-1]) == ("11.84 (B=50)", "12.95")
