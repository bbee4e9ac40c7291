"""Intervals against hand computation and scipy."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from tests.cells import columns

from gradleak.records import NOT_APPLICABLE
from gradleak.report.statistics import compare_means, student, summarise, verdicts


def long(values: dict[int, list[float]], *, metric: str = "made_up", status: str = "ok") -> pd.DataFrame:
    """Return rows of one cell: initialisation -> values of its tries."""
    rows = [
        (seed, 12, trial, value, "ilrg", metric, status)
        for seed, tries in values.items()
        for trial, value in enumerate(tries)
    ]
    frame = pd.DataFrame(rows, columns=["model_seed", "seed", "trial", "value", "method", "metric", "status"])
    return frame.assign(**columns("mnist", "fcn", 4), iteration=-1)


def test_means_are_taken_within_an_initialisation_first():
    # Pooled over tries, the mean would be 3.5, not 3.
    row = summarise(long({1: [1.0, 3.0], 2: [4.0, 4.0, 4.0, 4.0]})).iloc[0]
    assert row["mean"] == 3.0
    assert row["sd"] == pytest.approx(np.sqrt(2))
    assert (row["n_initialisations"], row["n_trials"], row["n_diverged"]) == (2, 6, 0)
    assert row["basis"] == "initialisations"


def test_intervals_by_hand():
    # Means 1, 2, 3: sd 1, t(0.975, 2) = 4.302653.
    row = summarise(long({1: [1.0], 2: [2.0], 3: [3.0]})).iloc[0]
    assert row["ci_high"] - 2 == pytest.approx(4.302653 / np.sqrt(3), abs=1e-6)
    assert row["pi_high"] - 2 == pytest.approx(4.302653 * np.sqrt(4 / 3) + 0.0005, abs=1e-6)
    assert row["pi_low"] - 2 == pytest.approx(-4.302653 * np.sqrt(4 / 3) - 0.0005, abs=1e-6)


def test_confidence_interval_is_scipys():
    means = np.array([0.31, 0.27, 0.35, 0.30, 0.22])
    row = summarise(long({seed: [value] for seed, value in enumerate(means)})).iloc[0]
    expected = stats.ttest_1samp(means, 0.0).confidence_interval(0.95)
    assert (row["ci_low"], row["ci_high"]) == pytest.approx((expected.low, expected.high))


@pytest.mark.parametrize("interval", ["ci", "pi", "fresh"])
@pytest.mark.parametrize(
    ("metric", "low", "high"),
    [
        ("lnacc", 0.0, 1.0),
        ("probability_cosine", -1.0, 1.0),
        ("count_l1", 0.0, None),
        ("seconds", 0.0, None),
        ("difference_lnacc", -1.0, 1.0),
        ("made_up", None, None),
    ],
)
def test_intervals_are_clipped_to_the_range_of_the_metric(metric, low, high, interval):
    row = summarise(long({1: [0.1], 2: [0.9]}, metric=metric)).iloc[0]
    free = summarise(long({1: [0.1], 2: [0.9]})).iloc[0]
    assert row[f"{interval}_low"] == (free[f"{interval}_low"] if low is None else low)
    assert row[f"{interval}_high"] == (free[f"{interval}_high"] if high is None else high)


def test_equal_initialisations_leave_the_rounding_unit():
    row = summarise(long({1: [1.0], 2: [1.0], 3: [1.0]}, metric="lnacc")).iloc[0]
    assert (row["pi_low"], row["pi_high"]) == (0.9995, 1.0)


def test_one_initialisation_falls_back_to_its_tries():
    tries = [0.2, 0.4, 0.9]
    row = summarise(long({1: tries}, metric="lnacc")).iloc[0]
    half = 4.302653 * np.std(tries, ddof=1) / np.sqrt(3)
    assert 0.5 + half > 1
    assert (row["basis"], row["ci_low"], row["ci_high"]) == ("trials", 0.0, 1.0)
    free = summarise(long({1: tries})).iloc[0]
    assert free["ci_high"] == pytest.approx(0.5 + half, abs=1e-6)
    assert np.isnan(row["pi_low"])
    assert np.isnan(row["sd"])


def test_one_try_has_no_interval():
    row = summarise(long({1: [0.5]})).iloc[0]
    assert row["basis"] == "none"
    assert np.isnan(row["ci_low"])


def test_shared_batches_add_variance():
    # Rows: initialisations, columns: batches. Every initialisation scores the same on a batch.
    same = long({1: [0.1, 0.3, 0.8], 2: [0.1, 0.3, 0.8]})
    assert summarise(same).iloc[0]["pi_high"] == pytest.approx(0.4 + 0.0005)
    row = summarise(same).iloc[0]
    spread = 4.302653 * np.std([0.1, 0.3, 0.8], ddof=1) / np.sqrt(3)
    assert row["fresh_high"] == pytest.approx(0.4 + spread * np.sqrt(2) + 0.0005, abs=1e-6)
    assert row["n_batches"] == 3


def test_batch_variance_is_that_of_a_random_effect():
    rng = np.random.default_rng(1)
    batches, noise = rng.normal(0, 0.3, 400), rng.normal(0, 0.5, (5, 400))
    values = {seed: list(0.1 * seed + batches + noise[seed]) for seed in range(5)}
    assert summarise(long(values)).iloc[0]["batch_variance"] == pytest.approx(0.09, rel=0.15)


def test_separate_batches_add_no_variance():
    frame = long({1: [0.1, 0.3], 2: [0.5, 0.6]})
    frame["seed"] = frame["model_seed"]
    row = summarise(frame).iloc[0]
    assert (row["fresh_low"], row["fresh_high"]) == (row["pi_low"], row["pi_high"])


def test_diverged_tries_are_counted_and_do_not_count():
    frame = long({1: [1.0, 99.0], 2: [3.0, float("nan")]})
    frame.loc[1, "status"] = "diverged"
    row = summarise(frame).iloc[0]
    assert row["mean"] == 2.0
    assert (row["n_initialisations"], row["n_trials"], row["n_diverged"]) == (2, 2, 2)


def test_a_cell_that_only_diverged_is_kept():
    row = summarise(long({1: [1.0], 2: [2.0]}, status="diverged")).iloc[0]
    assert np.isnan(row["mean"])
    assert (row["n_initialisations"], row["n_trials"], row["n_diverged"], row["basis"]) == (0, 0, 2, "none")


def test_tries_that_were_not_applicable_are_counted_separately():
    frame = long({1: [1.0, float("nan")], 2: [3.0, 99.0]})
    frame.loc[1, "status"] = NOT_APPLICABLE
    frame.loc[3, "status"] = "diverged"
    row = summarise(frame).iloc[0]
    assert (row["n_trials"], row["n_diverged"], row["n_not_applicable"]) == (2, 1, 1)
    assert (row["mean"], row["basis"]) == (2.0, "initialisations")


def test_a_method_that_was_not_applicable_has_no_n_and_no_mean():
    row = summarise(long({1: [float("nan")], 2: [float("nan")]}, status=NOT_APPLICABLE)).iloc[0]
    assert np.isnan([row["mean"], row["ci_low"], row["pi_low"]]).all()
    assert (row["n_initialisations"], row["n_trials"], row["n_diverged"]) == (0, 0, 0)
    assert (row["n_not_applicable"], row["basis"]) == (2, NOT_APPLICABLE)


def test_verdicts():
    found = verdicts([0.5, 0.6, 0.61, np.nan, 0.5], [0.4, 0.4, 0.4, 0.4, np.nan], [0.6] * 5)
    assert found.tolist() == ["agrees", "agrees", "differs", "undecided", "undecided"]


def test_student_needs_two_values():
    assert np.isnan(student([0, 1])).all()
    assert student(3) == pytest.approx(4.302653, abs=1e-6)


def test_means_are_compared_by_welchs_test():
    a, b = [0.30, 0.33, 0.36, 0.33], [0.25, 0.24, 0.28]
    reference = stats.ttest_ind(a, b, equal_var=False).confidence_interval(0.95)
    assert reference.low > 0.0005  # so they differ
    assert compare_means(0.33, float(np.std(a, ddof=1)), 4, float(np.mean(b)), float(np.std(b, ddof=1)), 3) == "differs"
    assert compare_means(0.3, 0.1, 4, 0.31, 0.1, 5) == "agrees"
    assert compare_means(1.0, 0.0, 3, 1.0, 0.0, 5) == "agrees"
    assert compare_means(1.0, 0.0, 3, 0.998, 0.0, 5) == "differs"
    assert compare_means(1.0, float("nan"), 1, 0.998, 0.0, 5) == "undecided"
