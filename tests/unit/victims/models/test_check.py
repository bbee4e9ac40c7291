"""A plug-in's model that is not a valid victim gives one line when built, and the check has no side effects."""

import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from tests.plugin_state import bring, forgotten
from torch import Tensor, nn

from gradleak.errors import InputError
from gradleak.victims.models import build
from gradleak.victims.models.base import Victim
from gradleak.victims.models.fcn import FCN


class Mine(Victim):
    """Pixels to 6 features by default."""

    def __init__(self, *, num_classes: int, channels: int, image_size: int):
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(channels * image_size**2, 6), nn.Dropout())
        self.head = nn.Linear(6, num_classes)

    def features(self, x: Tensor) -> Tensor:
        return self.body(self.norm(x)) + 0 * torch.rand(6)


def with_head(head: Callable[[int], Any]) -> type[Victim]:
    class Headed(Mine):
        def __init__(self, **shape: int):
            super().__init__(**shape)
            del self.head
            self.head = head(shape["num_classes"])

    return Headed


def with_features(features: Callable[[Tensor], Any]) -> type[Victim]:
    class Featured(Mine):
        def features(self, x: Tensor) -> Tensor:
            return features(super().features(x))

    return Featured


def plain(*layers: nn.Module) -> Callable[..., nn.Module]:
    """Return a builder of a network that is no Victim."""
    return lambda **shape: nn.Sequential(nn.Flatten(), *layers)


class Exits(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        sys.exit(0)


class NoHead(Mine):
    def __init__(self, **shape: int):
        super().__init__(**shape)
        del self.head


class Abstract(Victim):
    def __init__(self, **shape: int):
        super().__init__()


class Doubled(Mine):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


@pytest.fixture
def built() -> Iterator[Callable[..., Victim]]:
    """Return a function that builds a given class as a plug-in's model."""
    with forgotten():

        def make(kind: Any) -> Victim:
            bring("models", "mine", kind, path=__file__)
            return build.build("mine", num_classes=4, channels=3, image_size=8, seed=1)

        yield make


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (NoHead, "has no head; set self.head to its last layer, an nn.Linear"),
        (with_head(lambda C: None), "has no head"),
        (with_head(lambda C: nn.Sequential(nn.Linear(6, C))), "its head is a Sequential; use an nn.Linear"),
        (with_head(lambda C: nn.Conv2d(6, C, 1)), "its head is a Conv2d; use an nn.Linear"),
        (with_head(lambda C: nn.Linear(6, C + 1)), "its head has 5 outputs; the data set has 4 classes"),
        (with_head(lambda C: nn.Linear(7, C)), r"have shape \[2, 6\]; its head reads \[2, 7\]"),
        (with_features(lambda e: e[:, :, None, None]), r"have shape \[2, 6, 1, 1\]; its head reads \[2, 6\]"),
        (with_features(lambda e: e.mean(0)), r"have shape \[6\]; its head reads \[2, 6\]"),
        (with_features(lambda e: (e, e)), r"its features are a tuple; return a tensor \[n, 6\]"),
        (
            with_features(lambda e: e @ torch.zeros(5, 6)),
            r"features\(\) of images \[2, 3, 8, 8\]: .*test_check.py:\d+: RuntimeError",
        ),
        (Abstract, "its builder: .*: TypeError: Can't instantiate abstract class"),
        (
            lambda **shape: Mine(**shape, width=3),  # pyright: ignore
            r"its builder: .*test_check.py:\d+: TypeError: .*width",
        ),
        (lambda **shape: None, "its builder returns a NoneType; return a torch.nn.Module"),
        (lambda **shape: nn.Linear(2, 2), r"its pass of images \[2, 3, 8, 8\] fails: RuntimeError"),
        (plain(nn.Linear(192, 5)), "its head has 5 outputs; the data set has 4 classes"),
        (plain(nn.Linear(192, 4), nn.Softmax(1)), "its output is that of softmax; return the logits"),
        (plain(nn.Linear(192, 4), nn.ReLU()), "its output is that of relu at 2; return the logits of a linear layer"),
        (plain(nn.Unflatten(1, (3, 8, 8)), nn.Conv2d(3, 4, 8), nn.Flatten()), "its logits come from "),
        (plain(nn.Linear(192, 4), Exits()), r"a pass of images .*test_check.py:\d+: SystemExit: 0"),
        (with_features(lambda e: (e - e) / 0), "its features of images from -1 to 1 are not finite"),
        (with_features(lambda e: e + torch.rand(6)), "its features of equal images differ in eval mode"),
        (
            with_head(lambda C: nn.Linear(6, C, dtype=torch.float64)),
            "its features are torch.float32, its head is",
        ),
        (Doubled, r"its output is not head\(features\(x\)\)"),
        (with_features(lambda e: sys.exit(0)), r"features\(\) of images .*: SystemExit: 0"),
    ],
)
def test_invalid_victims_are_one_line(built, kind, message):
    with pytest.raises(InputError, match=f"^model mine: {message}|^model mine: .*{message}") as raised:
        built(kind)
    assert "\n" not in str(raised.value)


def test_a_valid_victim_is_built_unchanged(built):
    torch.manual_seed(3)
    state = torch.get_rng_state()
    found = built(Mine)
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(module.training for module in found.modules())
    assert torch.equal(found.norm.running_mean, torch.zeros(3))
    assert int(found.norm.num_batches_tracked) == 0
    assert not any(parameter.grad is not None for parameter in found.parameters())


@pytest.mark.parametrize("head", [lambda C: nn.Linear(6, C, bias=False), lambda C: nn.Linear(6, C)])
def test_a_head_may_have_no_bias(built, head):
    assert isinstance(built(with_head(head)), Victim)


def test_built_in_models_need_no_pass(monkeypatch):
    monkeypatch.setattr(FCN, "features", None)
    assert build.build("fcn", num_classes=4, channels=1, image_size=8, seed=1).head.out_features == 4
