"""Paired differences against hand computation and scipy."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from gradleak.records import NOT_APPLICABLE
from gradleak.report.paired import paired_difference


def rows(values: dict[int, list[float]], metric: str = "psnr") -> pd.DataFrame:
    """Return rows of one method: initialisation -> values of its tries."""
    found = [(m, 12, t, -1, "ok", metric, value) for m, tries in values.items() for t, value in enumerate(tries)]
    return pd.DataFrame(found, columns=["model_seed", "seed", "trial", "image", "status", "metric", "value"])


def test_over_the_tries_of_one_initialisation_by_hand():
    # Differences 1, 2, 3: mean 2, sd 1, t(0.975, 2) = 4.302653.
    found = paired_difference(rows({1: [11.0, 22.0, 33.0]}), rows({1: [10.0, 20.0, 30.0]}), "psnr")
    assert (found.value.metric, found.value.mean, found.value.basis) == ("difference_psnr", 2.0, "trials")
    assert found.ends == pytest.approx((2 - 4.302653 / np.sqrt(3), 2 + 4.302653 / np.sqrt(3)), abs=1e-6)
    assert found.sign == 0


def test_over_initialisations_it_is_scipys_paired_t():
    ours, other = [20.1, 17.2, 25.3, 19.9], [18.0, 16.4, 22.2, 18.1]
    found = paired_difference(
        rows({seed: [value - 1, value + 1] for seed, value in enumerate(ours)}),
        rows({seed: [value - 1, value + 1] for seed, value in enumerate(other)}),
        "psnr",
    )
    expected = stats.ttest_rel(ours, other).confidence_interval(0.95)
    assert found.ends == pytest.approx((expected.low, expected.high))
    assert (found.value.n_initialisations, found.value.n_trials, found.sign) == (4, 8, 1)


def test_shared_effects_cancel_out():
    # The victims differ by ten dB, the methods by one: unpaired intervals would overlap.
    levels = [10.0, 20.0, 30.0, 40.0]
    ours = rows({seed: [level + 1 + 0.1 * seed] for seed, level in enumerate(levels)})
    assert paired_difference(rows({s: [level] for s, level in enumerate(levels)}), ours, "psnr").sign == -1


def test_only_tries_of_both_methods_count():
    ours, other = rows({1: [1.0, 2.0, 4.0, 8.0, 16.0]}), rows({1: [0.0, 0.0, 0.0, 0.0]})
    ours.loc[0, "status"] = "diverged"
    other.loc[1, "status"] = NOT_APPLICABLE
    found = paired_difference(ours, other, "psnr")
    assert (found.value.mean, found.value.n_trials, found.n_unpaired) == (6.0, 2, 3)


def test_other_seeds_are_other_batches():
    found = paired_difference(rows({1: [1.0, 2.0]}), rows({1: [1.0, 2.0]}).assign(seed=13), "psnr")
    assert (found.value.n_trials, found.n_unpaired, found.sign) == (0, 4, 0)
    assert np.isnan([found.value.mean, *found.ends]).all()


def test_images_of_a_batch_are_averaged_first():
    ours = pd.concat([rows({1: [10.0, 12.0]}).assign(image=i) for i in range(3)])
    ours.loc[ours["image"] == 0, "value"] += 3.0
    found = paired_difference(ours, rows({1: [10.0, 12.0]}), "psnr")
    assert (found.value.mean, found.value.n_trials) == (1.0, 2)


def test_a_difference_of_shares_reaches_from_minus_one_to_one():
    found = paired_difference(rows({1: [1.0, 0.0]}, "leacc"), rows({1: [0.0, 0.5]}, "leacc"), "leacc")
    assert found.ends == (-1.0, 1.0)
