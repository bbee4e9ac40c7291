"""Exact inversion in runs: labels beside other methods, images and features, defenses, missing certificates."""

import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from gradleak.plan.jobs.images import Reconstruct
from gradleak.plan.jobs.labels import RestoreLabels
from gradleak.runs import images
from gradleak.runs.image_output import write_inputs
from gradleak.runs.labels import restore

USUAL = {
    "dataset": "mnist-sample",
    "model": "fcn",
    "batch_size": 24,
    "num_tries": 2,
    "device": "cpu",
    "progress": False,
}


def labels(**options) -> dict[tuple[str, str], list[float]]:
    found: dict[tuple[str, str], list[float]] = {}
    for row in restore(RestoreLabels(**{**USUAL, **options})).rows:
        found.setdefault((row.method, row.metric), []).append(row.value)
    return found


def reconstructed(**options) -> images.Result:
    usual = {**USUAL, "num_clients": 1, "num_tries": 1, "attack": "consistency", "method": "consistency"}
    return images.run(Reconstruct(**{**usual, **options}))


def test_labels_are_certified_beside_the_other_methods():
    found = labels(methods=("consistency", "ilrg"))
    for metric in ("certified", "exact_match", "leacc", "irec"):
        assert found["consistency", metric] == [1.0, 1.0]
    assert found["consistency", "falsely_certified"] == [0.0, 0.0]
    assert ("ilrg", "certified") not in found


def test_other_methods_are_unaffected():
    alone, beside = labels(methods=("ilrg",)), labels(methods=("ilrg", "consistency"))
    assert alone["ilrg", "probability_cosine"] == beside["ilrg", "probability_cosine"]


def test_without_certificates_ilrg_restores_the_labels():
    # A ReLU network of one hidden layer is not certified.
    found = labels(methods=("consistency", "ilrg"), n_hidden=0)
    assert found["consistency", "certified"] == [0.0, 0.0]
    assert found["consistency", "lnacc"] == found["ilrg", "lnacc"]


def test_counts_take_images_that_are_found_but_not_certified():
    found = labels(methods=("consistency", "ilrg"), precision="bfloat16", batch_size=48, num_tries=3)
    assert max(found["consistency", "certified"]) < 1
    assert found["consistency", "exact_match"] == [1.0, 1.0, 1.0]
    assert sum(found["ilrg", "exact_match"]) == 0
    assert found["consistency", "falsely_certified"] == [0.0, 0.0, 0.0]


def test_a_head_alone_certifies_what_it_can():
    found = labels(
        methods=("consistency", "ilrg"), dataset="cifar100-sample", model="resnet18", batch_size=8, num_tries=1
    )
    assert found["consistency", "certified"] == [1.0]
    assert found["consistency", "exact_match"] == [1.0]


@pytest.mark.parametrize("defense", ["dp-0.0001", "clip-4", "sparse-20"])
def test_defenses_cause_no_false_certificates(defense):
    found = labels(methods=("consistency",), defenses=(defense,), defense_scope="all")
    assert found["consistency", "falsely_certified"] == [0.0, 0.0]


def test_images_of_a_network_that_reads_them():
    (made,) = reconstructed().reconstructions
    assert float(made.metrics["relative_error"].max()) < 1e-5
    assert made.metrics["certified"].tolist() == [1.0] * 24
    assert made.metrics["label_accuracy"].tolist() == [1.0] * 24
    assert float(made.metrics["psnr"].min()) > 90
    assert made.inputs is None
    assert math.isfinite(made.loss)


def test_features_of_a_convolutional_network(tmp_path):
    result = reconstructed(dataset="cifar100-sample", model="lenet5", batch_size=8)
    (made,) = result.reconstructions
    assert float(made.metrics["input_error"].max()) < 1e-4
    assert made.metrics["certified"].tolist() == [1.0] * 8
    write_inputs(tmp_path / "inputs.npz", result.reconstructions)
    assert np.load(tmp_path / "inputs.npz")["round0_client0"].shape == (8, 400)


def test_missed_images_are_the_mean_image():
    (made,) = reconstructed(n_hidden=0).reconstructions  # nothing is restored
    assert made.metrics["certified"].tolist() == [0.0] * 24
    assert bool(torch.isfinite(made.metrics["psnr"]).all())
    assert len(made.guess.flatten().unique()) == 1


@pytest.mark.parametrize("option", [{"iterations": 5}, {"labels": "truth"}, {"tv_weight": 0.1}])
def test_options_of_matching_are_refused(option):
    with pytest.raises(ValidationError, match="has no effect with --method consistency"):
        reconstructed(**option)
