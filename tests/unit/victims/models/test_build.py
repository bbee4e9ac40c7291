"""The weights depend only on the seed."""

import pytest
import torch

from gradleak.victims.models.base import Victim
from gradleak.victims.models.build import build

FAMILIES = ("fcn", "lenet5", "lenet", "cnn3", "pooled_cnn", "vgg11", "resnet18", "mobilenet_v2")


def victim(name: str, seed: int) -> Victim:
    return build(name, num_classes=10, channels=3, image_size=32, seed=seed)


@pytest.mark.parametrize("name", FAMILIES)
def test_seeds_reproduce_and_differ(name: str):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = victim(name, 0).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    again, other = victim(name, 0).state_dict(), victim(name, 1).state_dict()
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not any(torch.equal(first[key], other[key]) for key in first if key.startswith("head"))


@pytest.mark.parametrize("name", FAMILIES)
def test_ready_to_observe(name: str):
    model = victim(name, 0)
    assert not model.training
    assert all(p.device.type == "cpu" and p.dtype == torch.float32 for p in model.parameters())


def test_default_device_does_not_matter():
    with torch.device("meta"):
        model = victim("lenet5", 0)
    assert torch.equal(model.head.weight, victim("lenet5", 0).head.weight)
