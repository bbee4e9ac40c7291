"""The batches that a prior avoids, in any spelling of its data set, and runs that would refuse their prior."""

from typing import Any

import pytest
from tests.small_grid import expand

from gradleak.errors import InputError
from gradleak.plan.catalogue import datasets


def guided(prior: dict[str, Any], axes: dict[str, Any], **datasets: str) -> dict[str, Any]:
    """Return a configuration with one guided attack."""
    return {
        **{f"datasets/{name}": {"kind": kind, "label": name} for name, kind in datasets.items()},
        "models/lenet": {"kind": "lenet", "label": "LeNet"},
        "attacks/guided": {"kind": "diffusion", "label": "Guided", "options": {"prior": "p"}},
        "priors": {"p": {"label": "DDPM", "options": prior}},
        "experiments/c": {"kind": "images", "attacks": ["guided"], "axes": [{"model": "lenet", **axes}]},
    }


BATCHES = "random-B1-clients2-tries2-seed12"


@pytest.mark.parametrize(
    ("prior", "dataset", "split"),
    [
        ({"dataset": "cifar100", "split": "train"}, "cifar100", "train"),
        ({"dataset": "CIFAR100", "split": "train"}, "cifar100", "train"),
        ({"dataset": "CIFAR-100", "split": "all"}, "cifar100", "train"),
        ({"split": "train"}, "cifar100", "train"),
        ({}, "cifar100", "val"),
        ({"dataset": "MNIST_GRAY", "split": "train"}, "mnist", "train"),
    ],
)
def test_a_prior_avoids_the_batches_in_any_spelling_of_its_data_set(prior, dataset, split):
    (trained,) = expand(guided(prior, {"dataset": "d", "split": split}, d=dataset)).priors.values()
    assert trained.avoid == (f"{BATCHES}-{split}",)


def test_a_prior_of_another_split_has_nothing_to_avoid():
    (trained,) = expand(guided({"split": "val"}, {"dataset": "d"}, d="cifar100")).priors.values()
    assert trained.avoid == ()


def test_a_prior_avoids_only_the_batches_of_its_own_data_set(monkeypatch):
    """Even if it is used for other attacks: here on batches of the same name from another data set."""
    monkeypatch.setitem(datasets.KINDS, "fashion", datasets.KINDS["mnist"])
    axes = {"dataset": ["digits", "other"]}
    (trained,) = expand(guided({"dataset": "mnist-sample"}, axes, other="fashion")).priors.values()
    assert trained.avoid == (f"{BATCHES}-train",)


def test_a_name_does_not_make_a_data_set_a_sample(monkeypatch):
    monkeypatch.setitem(datasets.KINDS, "my-sample", datasets.KINDS["mnist"])
    (trained,) = expand(guided({"dataset": "my-sample"}, {"dataset": "d"}, d="my-sample")).priors.values()
    assert trained.avoid == ()


@pytest.mark.parametrize(
    ("prior", "dataset", "axes", "fault"),
    [
        ({"dataset": "mnist-sample"}, "mnist", {}, "learns from mnist-sample, which shares images with mnist"),
        (
            {"dataset": "mnist"},
            "cifar100",
            {},
            "is for images of 1 x 28 x 28 (mnist); those of cifar100 are 3 x 32 x 32",
        ),
        (
            {"split": "train"},
            "cifar100",
            {"num_tries": 1, "client_indices": "3,5"},
            "learns from split train of cifar100, which client_indices refer to as well",
        ),
    ],
)
def test_runs_that_would_refuse_their_prior_are_refused_by_the_plan(prior, dataset, axes, fault):
    with pytest.raises(InputError) as caught:
        expand(guided(prior, {"dataset": "d", **axes}, d=dataset))
    assert str(caught.value).startswith(f"my.yaml: experiments.c: prior p {fault}")
