"""Experiment files read together: shared values count once, and different runs are not mixed."""

import pandas as pd
import pytest

from gradleak.errors import InputError
from gradleak.report.frames import write_experiment
from gradleak.report.summary import Measured, distinct, read_experiments


def test_a_value_in_two_experiments_counts_once(made_up, tmp_path):
    for name in ("a", "b"):
        write_experiment(tmp_path / f"{name}.csv", made_up("mnist", "fcn", 8, experiment=name))
    frame = read_experiments([tmp_path / "a.csv", tmp_path / "b.csv"])
    cell = Measured(frame).cells()[0]
    assert Measured(frame).value(cell, "ilrg", "lnacc").n_trials == 12


def test_runs_that_differ_in_their_methods_share_values(made_up):
    frame = distinct(pd.concat([made_up("mnist", "fcn", 8), made_up("mnist", "fcn", 8, methods=("ilrg",))]))
    cell = Measured(frame).cells()[0]
    assert Measured(frame).value(cell, "ilrg", "lnacc").n_trials == 12
    Measured(frame).check([("ilrg", "lnacc"), ("rlg", "leacc")], "table t")


def test_runs_that_differ_in_a_hidden_option_are_refused(made_up):
    other = made_up("mnist", "fcn", 8, level=0.5).assign(run="labels/other")
    with pytest.raises(InputError, match=r"labels/other belong to one cell"):
        distinct(pd.concat([made_up("mnist", "fcn", 8), other]))


def test_missing_rows_name_the_run(made_up):
    frame = made_up("mnist", "fcn", 8)
    gone = (frame["method"] == "gi") & (frame["model_seed"] == 2) & (frame["metric"] == "leacc")
    with pytest.raises(InputError, match=r"table t: run labels/mnist/fcn/untrained-random-B8-seed2.* no leacc of gi"):
        Measured(distinct(frame[~gone])).check([("gi", "leacc")], "table t")


def test_no_rows_at_all(made_up):
    with pytest.raises(InputError, match="have no rows"):
        Measured(made_up("mnist", "fcn", 8).iloc[:0]).check([("gi", "leacc")], "table t")
