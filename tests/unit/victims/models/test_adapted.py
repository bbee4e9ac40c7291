"""A network that is no Victim gives the results of the same network written as one."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.plugin_state import bring, forgotten
from torch import Tensor, nn

from gradleak.plan.jobs.images import Reconstruct
from gradleak.plan.jobs.labels import RestoreLabels
from gradleak.plan.jobs.training import TrainVictim
from gradleak.runs import images, labels
from gradleak.victims import checkpoints
from gradleak.victims.models import build
from gradleak.victims.models.base import Victim
from gradleak.victims.training.loop import train

SHAPE: dict[str, Any] = {"num_classes": 10, "channels": 1, "image_size": 28}


def body(channels: int, image_size: int) -> nn.Sequential:
    conv = nn.Conv2d(channels, 4, 5, stride=2)
    side = (image_size - 5) // 2 + 1
    return nn.Sequential(
        conv, nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * side**2, 40), nn.ReLU(), nn.Dropout(0.1)
    )


class Own(nn.Module):
    """Logits in a dictionary; the last layer has a name of its own."""

    def __init__(self, *, num_classes: int, channels: int, image_size: int):
        super().__init__()
        self.body = body(channels, image_size)
        self.out = nn.Linear(40, num_classes)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"logits": self.out(self.body(x))}


class Declared(Victim):
    def __init__(self, *, num_classes: int, channels: int, image_size: int):
        super().__init__()
        self.body = body(channels, image_size)
        self.head = nn.Linear(40, num_classes)

    def features(self, x: Tensor) -> Tensor:
        return self.body(x)


@pytest.fixture(autouse=True)
def _both() -> Iterator[None]:
    with forgotten():
        bring("models", "own", Own)
        bring("models", "declared", Declared)
        yield


def numbers(rows: Any) -> list[tuple[Any, ...]]:
    measured = [row for row in rows if row.metric not in ("seconds", "peak_memory_mb", "iterations_per_second")]
    return [(row.method, row.trial, row.client, row.image, row.metric, row.status, row.value) for row in measured]


def usual(**options: Any) -> dict[str, Any]:
    return {"dataset": "mnist-sample", "device": "cpu", "progress": False, **options}


@pytest.mark.parametrize(
    "options",
    [
        {"analysis": True},
        {"bn_eval": False, "local_steps": 2},
        {"defenses": ("perturb-20",), "defense_scope": "all", "methods": ("ilrg", "consistency")},
    ],
)
def test_labels(options):
    own, declared = (
        numbers(labels.restore(RestoreLabels(**usual(model=name, batch_size=6, num_tries=2, **options))).rows)
        for name in ("own", "declared")
    )
    assert own == declared


def test_images():
    own, declared = (
        numbers(images.run(Reconstruct(**usual(model=name, batch_size=2, iterations=3, num_tries=1))).rows)
        for name in ("own", "declared")
    )
    assert [row[:-1] for row in own] == [row[:-1] for row in declared]
    # The sums over parameters run in another order.
    assert [row[-1] for row in own] == pytest.approx([row[-1] for row in declared], rel=1e-4)


def test_weights_are_those_of_the_network_and_a_training_keeps_its_names(tmp_path: Path):
    spec = {"train_images": 64, "train_batch_size": 16, "stage": "iter3", "checkpoint_dir": tmp_path}
    own, declared = (train(TrainVictim(**usual(model=name, **spec))).weights for name in ("own", "declared"))
    network = Own(**SHAPE)
    checkpoints.load(network, own)
    victim = build.build("own", **SHAPE, seed=3)
    checkpoints.load(victim, own)
    assert set(victim.state_dict()) == set(network.state_dict())
    trained = {name.replace("head.", "out."): tensor for name, tensor in checkpoints.read(declared).items()}
    for name, tensor in victim.state_dict().items():
        assert torch.equal(tensor, network.state_dict()[name])
        assert torch.equal(tensor, trained[name])
