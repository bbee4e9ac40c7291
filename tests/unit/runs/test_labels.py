"""Complete runs from spec to rows, on packaged images."""

import pytest

from gradleak.plan.jobs.labels import RestoreLabels
from gradleak.records import Row
from gradleak.runs.labels import restore


def rows(**options: object) -> list[Row]:
    values = {"dataset": "mnist-sample", "model": "fcn", "batch_size": 8, "num_tries": 2, "device": "cpu", **options}
    return restore(RestoreLabels(**values, progress=False)).rows  # pyright: ignore[reportArgumentType]


def values(found: list[Row], metric: str, method: str = "ilrg") -> list[float]:
    return [row.value for row in found if (row.metric, row.method) == (metric, method)]


def test_an_untrained_fcn_leaks_its_counts():
    assert values(rows(batch_size=4, num_tries=5), "leacc") == pytest.approx([1.0] * 5)


def test_methods_share_batches_and_results_repeat():
    one, other = rows(methods=("ilrg",)), rows(methods=("gi", "ilrg"))
    assert values(one, "lnacc") == values(other, "lnacc")
    assert values(one, "leacc", "floor-blank") == values(other, "leacc", "floor-blank")


def test_the_victims_seed_does_not_change_the_batches():
    one, other = rows(model_seed=1, batch_size=64), rows(model_seed=2, batch_size=64)
    assert values(one, "leacc", "floor-blank") == values(other, "leacc", "floor-blank")
    assert values(one, "probability_cosine") != values(other, "probability_cosine")


def test_chunks_do_not_change_the_answer():
    assert values(rows(batch_size=64, chunk_size=5), "lnacc") == values(rows(batch_size=64), "lnacc")


@pytest.mark.parametrize("distribution", ["random", "extreme", "unique", "random2", "sim"])
def test_distributions_run(distribution):
    assert len(values(rows(distribution=distribution), "lnacc")) == 2


def test_imagenet_images_are_decoded_for_the_chosen_only():
    found = rows(dataset="imagenet-sample", model="resnet18", stem="imagenet", batch_size=2, num_tries=1)
    assert values(found, "leacc") == pytest.approx([1.0], abs=0.01)


def test_the_simplified_variant_gets_the_classes():
    found = rows(methods=("ilrg-simplified", "ilrg-estimate", "ilrg"))
    assert values(found, "leacc", "ilrg-simplified") == [1.0, 1.0]
    assert len(values(found, "lnacc", "ilrg-estimate")) == 2


def test_defenses_change_the_gradient_and_are_named():
    plain = rows(batch_size=64)
    defended = rows(batch_size=64, defenses=("clip-4", "dp-0.1"))
    assert {row.defense for row in defended} == {"clip-4+dp-0.1"}
    assert values(defended, "lnacc") != values(plain, "lnacc")
    assert values(defended, "leacc", "floor-blank") == values(plain, "leacc", "floor-blank")
    assert values(rows(batch_size=64, defenses=("clip-4", "dp-0.1")), "lnacc") == values(defended, "lnacc")


def test_a_defense_of_all_gradients_clips_their_joint_norm():
    head, whole = rows(defenses=("clip-0.01",)), rows(defenses=("clip-0.01",), defense_scope="all")
    assert {(row.defense, row.defense_scope) for row in whole} == {("clip-0.01", "all")}
    assert values(head, "embedding_cosine") == pytest.approx(values(whole, "embedding_cosine"), rel=1e-3)


@pytest.mark.parametrize("defense", ["dp-0.001", "sparse-10", "perturb-10"])
def test_every_defense_runs(defense):
    assert len(values(rows(defenses=(defense,)), "leacc")) == 2


def test_labels_leak_from_updates_too():
    """Small steps send nearly the gradient, large ones another mean; batches are equal, also with mini-batches."""
    options: dict[str, object] = {"methods": ("ilrg", "gi"), "batch_size": 64}
    plain = rows(**options)
    assert [row.value for row in rows(**options, local_steps=1) if row.metric != "seconds" and row.trial >= 0] == [
        row.value for row in plain if row.metric != "seconds" and row.trial >= 0
    ]
    training: dict[str, object] = {"local_epochs": 3, "local_batch_size": 16}
    small, large = (rows(**options, **training, local_lr=lr) for lr in (1e-7, 0.5))
    for found in (small, large):
        assert values(found, "leacc", "floor-blank") == values(plain, "leacc", "floor-blank")
        assert len(values(found, "leacc", "gi")) == len(values(found, "lnacc")) == 2
    near, far = (values(found, "embedding_cosine") for found in (small, large))
    assert near == pytest.approx(values(plain, "embedding_cosine"), rel=1e-2)
    assert far != pytest.approx(near, rel=1e-2)


@pytest.mark.parametrize("options", [{"bn_eval": False}, {"local_epochs": 2}, {"local_epochs": 2, "bn_eval": False}])
def test_a_simulated_client_is_defended_like_any(options):
    usual: dict[str, object] = {"model": "lenet5", "batchnorm": True, "num_tries": 1}
    plain, found = rows(**usual), rows(**usual, **options)
    defended = rows(**usual, **options, defenses=("clip-0.01", "dp-0.001"))
    three = [values(each, "embedding_cosine") for each in (plain, found, defended)]
    assert all(len(each) == 1 for each in three)
    assert three[0] != three[1] != three[2]


def test_analysis_measures_the_approximations():
    found = rows(analysis=True, batch_size=16)
    for metric in ("approx1_mse", "approx4_mse", "embedding_mse", "soteria_embedding_cosine", "out_mre"):
        assert len(values(found, metric)) == 2, metric
    assert "approx1_mse" not in {row.metric for row in rows(batch_size=16)}


def test_a_trained_victim_is_trained_once_and_leaks_less(tmp_path):
    options = {"stage": "iter30", "checkpoint_dir": tmp_path, "batch_size": 64, "num_tries": 5}
    trained = rows(**options)
    assert {(row.stage_unit, row.stage_number) for row in trained} == {("iter", 30)}
    written = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")}
    assert len(written) == 1
    assert values(rows(**options), "irec") == values(trained, "irec")
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")} == written
    untrained = rows(batch_size=64, num_tries=5)
    assert sum(values(trained, "irec")) < sum(values(untrained, "irec"))
