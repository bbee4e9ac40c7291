"""Figures from artificial rows."""

import numpy as np
import pandas as pd
import pytest
from matplotlib import rcParams
from tests.cells import columns

from gradleak.errors import InputError
from gradleak.report import published
from gradleak.report.figures.accuracy_over_batch import series
from gradleak.report.figures.base import build, save
from gradleak.report.tables.base import Labels


@pytest.fixture(scope="module")
def figures(paper_folder) -> pd.DataFrame:
    return published.load(paper_folder / "published" / "ilrg.csv")


@pytest.fixture(scope="module")
def frame(made_up) -> pd.DataFrame:
    parts = [made_up("mnist-sample", "fcn", size) for size in (8, 32, 128)]
    parts += [made_up("cifar100-sample", "lenet5", size) for size in (4, 8)]
    return pd.concat([*parts, made_up("mnist-sample", "fcn-n_hidden=3", 64)])


def test_lines_bands_and_published_points(frame, figures):
    drawn = build("accuracy_over_batch", frame, figures, Labels({"mnist-sample": "MNIST (5k sample)"}))
    axes = drawn.axes[0]
    lines = [line for line in axes.get_lines() if line.get_linestyle() == "-"]
    assert [np.asarray(line.get_xdata()).tolist() for line in lines] == [
        [8, 32, 128],
        [4, 8],
    ]  # the depth study has no line
    assert len(axes.collections) == 2
    points = [line for line in axes.get_lines() if line.get_linestyle() == "None"]
    assert {tuple(np.asarray(line.get_xydata()).ravel().tolist()) for line in points} == {
        (8, 1.0),
        (32, 0.804),
        (128, 0.386),
    }
    labels = [text.get_text() for text in drawn.legends[0].get_texts()]
    assert labels[0] == "fcn, MNIST (5k sample)"
    assert labels[-2:] == ["published", "blank answer"]


def test_equal_input_gives_equal_bytes(frame, figures, tmp_path):
    for name in ("a", "b"):
        save(
            build("accuracy_over_batch", frame, figures, Labels()),
            tmp_path / f"{name}.pdf",
            tmp_path / f"{name}.png",
        )
    for suffix in ("pdf", "png"):
        assert (tmp_path / f"a.{suffix}").read_bytes() == (tmp_path / f"b.{suffix}").read_bytes()
    assert b"CreationDate" not in (tmp_path / "a.pdf").read_bytes()


def test_the_users_style_is_left_alone(frame, figures):
    before = rcParams["font.size"]
    build("accuracy_over_batch", frame, figures, Labels())
    assert rcParams["font.size"] == before


def test_missing_rows_fail_unless_draft(frame, figures, tmp_path):
    holey = frame[~((frame["metric"] == "irec") & (frame["batch_size"] == 32))]
    with pytest.raises(InputError, match=r"figure mine: run .*B=32.* no irec of ilrg"):
        build("accuracy_over_batch", holey, figures, Labels(), name="mine")
    drawn = build("accuracy_over_batch", holey, figures, Labels(), draft=True)
    save(drawn, tmp_path / "draft.pdf", tmp_path / "draft.png")


def test_single_batch_sizes_are_drawn_if_there_are_no_others(made_up, figures):
    drawn = build("accuracy_over_batch", made_up("mnist", "fcn", 8), figures, Labels())
    assert len(drawn.axes) == 3


@pytest.fixture(scope="module")
def stages(made_up) -> pd.DataFrame:
    parts = [made_up("mnist", "fcn", 8, stage=stage) for stage in ("iter1000", "untrained", "iter100")]
    return pd.concat([*parts, made_up("mnist", "fcn", 24)])


def test_stages_share_a_line_and_the_victim_has_a_second_axis(stages, figures):
    drawn = build("accuracy_over_stage", stages, figures, Labels())
    assert len(drawn.axes) == 3 + 3
    solid = [line for line in drawn.axes[0].get_lines() if line.get_linestyle() == "-"]
    assert [np.asarray(line.get_xdata()).tolist() for line in solid] == [[0, 100, 1000]]  # B=24 has one stage only
    (victim,) = drawn.axes[3].get_lines()
    assert np.asarray(victim.get_xydata()).tolist() == [[100, pytest.approx(0.9)], [1000, pytest.approx(0.9)]]
    labels = [text.get_text() for text in drawn.legends[0].get_texts()]
    assert labels[-1] == "victim's accuracy"
    published_points = [line for line in drawn.axes[2].get_lines() if line.get_linestyle() == "None"]
    assert (100, 0.613) in {tuple(np.asarray(line.get_xydata()).ravel().tolist()) for line in published_points}


def test_iterations_and_epochs_cannot_share_an_axis(stages, figures, made_up):
    both = pd.concat([stages, made_up("mnist", "fcn", 8, stage="epoch10")])
    with pytest.raises(InputError, match="both iterations and epochs"):
        build("accuracy_over_stage", both, figures, Labels())
    with pytest.raises(InputError, match="no victim of its experiments has more than one stage"):
        build("accuracy_over_stage", made_up("mnist", "fcn", 8), figures, Labels())


def test_defenses_are_a_categorical_axis(made_up, figures):
    frame = pd.concat([made_up("mnist", "fcn", 8, defense=name) for name in ("none", "dp-0.01", "clip-4+dp-0.01")])
    labels = Labels(defense={"dp-0.01": "noise", "clip-4+dp-0.01": "clip + noise"})
    drawn = build("accuracy_over_defenses", frame, figures, labels)
    axes = drawn.axes[0]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["none", "noise", "clip + noise"]
    assert not [line for line in axes.get_lines() if line.get_linestyle() == "-"]


def test_series_are_sorted():
    large, small, other = (columns("mnist", *rest) for rest in (("fcn", 8), ("fcn", 4), ("fcn-n_hidden=3", 2)))
    assert series([large, small, other]) == [[small, large]]


def test_unknown_kind():
    with pytest.raises(InputError, match="unknown figure kind 'pie'; known: accuracy_over_batch"):
        build("pie", pd.DataFrame(), pd.DataFrame(), Labels())
