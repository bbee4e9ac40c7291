"""Image rows read batch by batch."""

import numpy as np
import pandas as pd
import pytest

from gradleak.errors import InputError
from gradleak.report.image_rows import BEST_SIX, Reconstructions, batches, check, only_images, without_images


def best_six(frame: pd.DataFrame) -> list[float]:
    rows = batches(frame)
    return rows.loc[rows["metric"] == BEST_SIX, "value"].to_list()


def test_each_clients_batch_is_a_try(made_up_images):
    frame = made_up_images("mnist", "lenet", 2, rounds=3, clients=4)
    rows = batches(frame).query("metric == 'psnr'")
    assert rows["trial"].value_counts(sort=False).to_dict() == dict.fromkeys(range(12), 2)
    found = Reconstructions.of(frame)
    (cell,) = found.cells()
    value = found.measured.value(cell, "ig", "psnr")
    assert (value.n_initialisations, value.n_trials, value.basis) == (1, 12, "trials")
    # PSNR is 18 + image + client + 0.01: the mean over all images.
    assert value.mean == pytest.approx(18.01 + 0.5 + 1.5)
    assert found.images(cell, "ig") == 24


def test_a_diverged_client_is_one_batch_less_and_no_image_counts(made_up_images):
    frame = made_up_images("mnist", "lenet", 2, clients=3, diverged=(2,))
    found = Reconstructions.of(frame)
    (cell,) = found.cells()
    value = found.measured.value(cell, "ig", "psnr")
    assert (value.n_trials, value.n_diverged, found.images(cell, "ig")) == (2, 1, 4)
    assert found.diverged_restarts(cell, "ig") == 2


def test_the_clients_batch_size_is_not_a_setting_of_an_aggregate(made_up_images):
    found = Reconstructions.of(made_up_images("mnist", "lenet", 8, clients=4, aggregated=True))
    (cell,) = found.cells()
    assert (cell["batch_size"], cell["aggregated"]) == (8, 4)


def test_the_best_six_are_of_one_batch(made_up_images):
    # Images 2 to 7 of each batch.
    assert best_six(made_up_images("mnist", "fcn", 8, rounds=2)) == pytest.approx([18.01 + 4.5] * 2)
    assert best_six(made_up_images("mnist", "fcn", 5, rounds=2)) == []


def test_diverged_images_are_not_among_the_best(made_up_images):
    assert best_six(made_up_images("mnist", "fcn", 8, diverged=(0,))) == []


def test_snapshots_are_sorted_as_numbers(made_up_images):
    found = Reconstructions.of(made_up_images("mnist", "fcn", 2, iterations=(1, 1000, 200)))
    assert found.snapshots(found.cells()[0], "ig") == [1, 200, 1000]


def test_kinds_of_rows_are_distinguished(made_up, made_up_images):
    both = pd.concat([made_up("mnist", "fcn", 8), made_up_images("mnist", "fcn", 8)])
    assert set(only_images(both)["kind"]) == {"images"}
    assert set(without_images(both)["kind"]) == {"labels"}
    assert Reconstructions.of(made_up("mnist", "fcn", 8)).cells() == []


def test_a_run_without_a_metric_is_named(made_up_images):
    frame = made_up_images("mnist", "fcn", 2)
    check(frame, "table t")
    with pytest.raises(InputError, match=r"table t: run images/mnist/fcn/.* has no ssim"):
        check(frame[frame["metric"] != "ssim"], "table t")
    with pytest.raises(InputError, match="has no psnr"):
        check(frame[frame["method"] == "job"], "table t")
    with pytest.raises(InputError, match="no rows"):
        check(frame[:0], "table t")


def test_psnr_is_rounded_to_two_decimals_by_its_publishers(made_up_images):
    found = Reconstructions.of(made_up_images("mnist", "fcn", 2, model_seeds=(1, 2)))
    value = found.measured.value(found.cells()[0], "ig", "psnr")
    assert value.pi_high - value.mean == pytest.approx(12.7062 * np.sqrt(1.5) * 0.01 / np.sqrt(2) + 0.005, abs=1e-4)
