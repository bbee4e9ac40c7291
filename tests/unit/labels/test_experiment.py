"""A whole run from spec to rows, on packaged images."""

import pytest

from gradleak.labels.experiment import restore
from gradleak.records import Row
from gradleak.spec import RestoreLabels


def rows(**options: object) -> list[Row]:
    values = {"dataset": "mnist-sample", "model": "fcn", "num_images": 8, "num_tries": 2, "device": "cpu", **options}
    return restore(RestoreLabels(**values, progress=False)).rows  # pyright: ignore[reportArgumentType]


def values(found: list[Row], metric: str, method: str = "ilrg") -> list[float]:
    return [row.value for row in found if (row.metric, row.method) == (metric, method)]


def test_an_untrained_fcn_leaks_its_counts():
    assert values(rows(num_images=4, num_tries=5), "leacc") == pytest.approx([1.0] * 5)


def test_methods_share_batches_and_results_repeat():
    one, other = rows(methods=("ilrg",)), rows(methods=("gi", "ilrg"))
    assert values(one, "lnacc") == values(other, "lnacc")
    assert values(one, "leacc", "floor-blank") == values(other, "leacc", "floor-blank")


def test_victim_seed_moves_the_victim_and_no_batch():
    one, other = rows(model_seed=1, num_images=64), rows(model_seed=2, num_images=64)
    assert values(one, "leacc", "floor-blank") == values(other, "leacc", "floor-blank")
    assert values(one, "probability_cosine") != values(other, "probability_cosine")


def test_chunks_do_not_change_the_answer():
    assert values(rows(num_images=64, chunk_size=5), "lnacc") == values(rows(num_images=64), "lnacc")


@pytest.mark.parametrize("distribution", ["random", "extreme", "unique", "random2", "sim"])
def test_distributions_run(distribution):
    assert len(values(rows(distribution=distribution), "lnacc")) == 2


def test_imagenet_images_are_decoded_for_the_chosen_only():
    found = rows(dataset="imagenet-sample", model="resnet18", stem="imagenet", num_images=2, num_tries=1)
    assert values(found, "leacc") == pytest.approx([1.0], abs=0.01)


def test_the_simplified_variant_is_told_the_classes():
    found = rows(methods=("ilrg-simplified", "ilrg-estimate", "ilrg"))
    assert values(found, "leacc", "ilrg-simplified") == [1.0, 1.0]
    assert len(values(found, "lnacc", "ilrg-estimate")) == 2
