"""Published figures: our identifiers, and the figures beside a cell."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from tests.cells import columns

from gradleak.errors import InputError
from gradleak.report import published
from gradleak.report.statistics import summarise


@pytest.fixture(scope="module")
def figures(paper_folder) -> pd.DataFrame:
    return published.load(paper_folder / "published" / "ilrg.csv")


def cell(dataset="mnist", model="fcn", batch_size=24, **more) -> dict:
    return columns(dataset, model, batch_size, **more)


def test_all_logs_are_read(figures):
    assert figures["source_log"].nunique() == 89
    errors = figures["metric"].str.endswith("_mse")
    assert figures.loc[~errors, "published"].between(-1, 1).all()
    assert (figures.loc[errors, "published"] > 0).all()


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        ("Experiment1/exp1", {"model": "fcn", "dataset": "mnist", "distribution": "random"}),
        ("Experiment2/dnn+mnist+layers/exp4", {"model": "fcn", "model_options": '{"n_hidden":3}', "batch_size": 64}),
        ("Experiment1/exp3-1", {"model": "lenet5", "model_options": '{"activation":"silu"}'}),
        ("Experiment1/exp3-3(leaky_relu)", {"model_options": '{"activation":"leaky_relu"}'}),
        ("batchnorm&dropout/exp4", {"model": "vgg16", "model_options": '{"dropout":true}'}),
        ("data_distributions/exp4", {"distribution": "balanced", "distribution_classes": 32}),
        ("data_distributions/exp1", {"distribution": "extreme", "distribution_classes": 0}),
        (
            "DefenseStrategy/exp8",
            {"defense": "dp-0.01", "defense_scope": "head", "stage_unit": "epoch", "stage_number": 100},
        ),
        ("DefenseStrategy/exp2", {"defense": "dp-0.0001"}),
        ("DefenseStrategy/exp10", {"defense": "sparse-20"}),
        (
            "TrainingStage/MNIST/exp10",
            {"stage_unit": "iter", "stage_number": 100, "defense": "none", "defense_scope": ""},
        ),
    ],
)
def test_settings_are_spelt_as_ours(figures, log, expected):
    rows = figures[figures["source_log"] == log]
    assert len(rows)
    for name, value in expected.items():
        assert set(rows[name]) == {value}


def test_batchnorm_in_lenet5_is_an_option_of_the_model():
    row = {"dataset": "cifar100", "model": "lenet5", "activation": "relu", "hidden_layers": ""}
    row |= {"batchnorm": "True", "dropout": "False", "batch_size": "128", "distribution": "random"}
    row |= {"classes_in_batch": "", "stage": "untrained", "defense": "none", "defense_value": ""}
    assert published.setting(row)["model_options"] == '{"batchnorm":true}'


def test_exact_setting(figures):
    found = published.match(figures, cell(), "ilrg", "lnacc", ("comparison",))
    assert (found.values, found.batch_size, found.exact) == ((0.994,), 24, True)
    assert found.text() == "0.994"
    assert (found.verdict(0.99, 1.0), found.verdict(0.0, 0.9), found.verdict(np.nan, np.nan)) == (
        "agrees",
        "differs",
        "undecided",
    )


def test_a_sample_stands_for_its_full_set(figures):
    assert published.match(figures, cell("mnist-sample"), "ilrg", "lnacc", ("comparison",)).text() == "0.994"


def test_nearest_batch_size_is_shown_and_not_judged(figures):
    found = published.match(figures, cell("cifar100-sample", "lenet5", 16), "ilrg", "leacc", ("comparison",))
    assert not found.exact
    assert found.text() == "1.000 (B=24)"
    assert found.verdict(0.0, 1.0) == "—"


def test_nearest_is_by_ratio_within_the_experiment(figures):
    at = cell(batch_size=11)
    assert published.match(figures, at, "ilrg", "lnacc", ("batch_size_and_depth",)).batch_size == 8
    assert published.match(figures, at, "ilrg", "lnacc") == published.Match("lnacc")


def test_exact_in_another_experiment_beats_nearest_in_this(figures):
    found = published.match(figures, cell(batch_size=24), "ilrg", "lnacc", ("batch_size_and_depth",))
    assert (found.exact, found.values) == (True, (0.994,))


def test_several_logs_of_one_setting_are_kept(figures):
    found = published.match(figures, cell("cifar100", "lenet5-silu"), "idlg", "leacc", ("comparison",))
    assert found.text() == "0.089/0.150"
    assert found.mean == pytest.approx(0.1195)
    assert found.verdict(0.0, 0.2) == "agrees"
    assert found.verdict(0.1, 0.2) == "differs"


@pytest.mark.parametrize(
    "change",
    [
        {"model": "resnet50-imagenet"},
        {"defense": "clip-4"},
        {"defense": "dp-0.01@all"},
        {"stage": "epoch3"},
        {"aggregated": 2},
    ],
)
def test_other_settings_match_nothing(figures, change):
    found = published.match(figures, cell(**change), "ilrg", "leacc", ("comparison",))
    assert (found.values, found.text(), found.verdict(0, 1)) == ((), "—", "—")


def test_covered_takes_the_full_set_and_judges(figures, made_up):
    frame: Any = pd.concat(
        [made_up("mnist-sample", "fcn", 24), made_up("mnist", "fcn", 24, values={("ilrg", "lnacc"): 0.994})]
    )
    found = published.covered(summarise(frame[frame["trial"] >= 0]), figures)
    assert set(found["measured_on"]) == {"mnist"}
    row = found[(found["metric"] == "lnacc") & (found["source_log"] == "Experiment1/exp1")].iloc[0]
    assert row["difference"] == pytest.approx(0.0)
    assert row["verdict"] == "agrees"
    assert set(found["verdict"]) == {"agrees", "differs"}


def test_rerun_is_summarised_over_seeds(paper_folder):
    rerun = published.load_rerun(paper_folder / "published" / "rerun.csv")
    row = rerun[(rerun["source_log"] == "Experiment1/exp1") & (rerun["metric"] == "lnacc")].iloc[0]
    assert row["rerun_mean"] == pytest.approx(np.mean([0.995, 0.965, 0.985, 0.975, 0.985]))
    assert (row["rerun_n"], row["rerun_low"], row["rerun_high"]) == (5, 0.965, 0.995)


def test_a_missing_file_is_one_line(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        published.load(tmp_path / "none.csv")
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="column experiment is missing"):
        published.load(tmp_path / "other.csv")


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda frame: frame.assign(batch_size="many"), r"ilrg\.csv:2: invalid literal.*'many'"),
        (lambda frame: frame.assign(ilrg_leacc="7"), r"ilrg\.csv:2: ilrg_leacc is 7; it must lie in \[0, 1\]"),
        (lambda frame: frame.assign(ilrg_leacc="nan"), r"ilrg\.csv:2: ilrg_leacc is nan"),
        (lambda frame: frame.assign(model="alexnet"), r"ilrg\.csv:2: .*unknown model 'alexnet'"),
        (lambda frame: frame.drop(columns="batch_size"), r"ilrg\.csv: column batch_size is missing"),
    ],
)
def test_an_edited_file_is_one_line(tmp_path, paper_folder, edit, message):
    frame = published.read_text_frame(paper_folder / "published" / "ilrg.csv", ())
    edit(frame).to_csv(tmp_path / "ilrg.csv", index=False)
    with pytest.raises(InputError, match=message) as caught:
        published.load(tmp_path / "ilrg.csv")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"\xff\xfe\xfa", b"a,b\n1,2,3\n1,2,3,4\n"])
def test_a_file_that_is_not_csv_is_one_line(tmp_path, content):
    (tmp_path / "x.csv").write_bytes(content)
    with pytest.raises(InputError, match=r"x\.csv: not a CSV file") as caught:
        published.load(tmp_path / "x.csv")
    assert "\n" not in str(caught.value)
