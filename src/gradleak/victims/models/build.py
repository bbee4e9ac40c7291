"""Victims by name.

A new model is one file beside this one, a registered builder here and a row in ``OPTIONS`` (``options.py``).
"""

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import torch

from gradleak.errors import InputError
from gradleak.plan import plugins
from gradleak.plan.model_options import OPTIONS, check_images, check_options
from gradleak.streams import stream_seed
from gradleak.victims.models.base import Victim
from gradleak.victims.models.check import check_victim

REGISTRY: dict[str, Callable[..., Victim]] = {}
"""Model name -> builder; every builder takes num_classes, channels, image_size and its options by keyword."""

Builder = TypeVar("Builder", bound=Callable[..., Victim])


def register(name: str) -> Callable[[Builder], Builder]:
    """Register a builder, or a subclass of :class:`~gradleak.victims.models.base.Victim`, under a new ``name``."""

    def add(builder: Builder) -> Builder:
        if name in REGISTRY:
            raise ValueError(f"model {name!r} is registered twice")
        REGISTRY[name] = builder
        return builder

    return add


# Each builder imports its module on first use: torchvision's models take two seconds to import. The imports are
# written out, so that the digest of the code sees them (gradleak.code_digest).


@register("fcn")
def _fcn(**arguments: Any) -> Victim:
    from gradleak.victims.models.fcn import FCN

    return FCN(**arguments)


@register("lenet5")
def _lenet5(**arguments: Any) -> Victim:
    from gradleak.victims.models.lenet5 import LeNet5

    return LeNet5(**arguments)


@register("lenet")
def _lenet(**arguments: Any) -> Victim:
    from gradleak.victims.models.lenet import LeNet

    return LeNet(**arguments)


def _vgg(depth: int, **arguments: Any) -> Victim:
    from gradleak.victims.models.vgg import VGG

    return VGG(depth, **arguments)


for _depth in (11, 13, 16, 19):
    register(f"vgg{_depth}")(partial(_vgg, _depth))


def _resnet(depth: int, **arguments: Any) -> Victim:
    from gradleak.victims.models.resnet import ResNet

    return ResNet(depth, **arguments)


for _depth in (18, 34, 50, 101, 152):
    register(f"resnet{_depth}")(partial(_resnet, _depth))


@register("cnn3")
def _cnn3(**arguments: Any) -> Victim:
    from gradleak.victims.models.cnn import CNN3

    return CNN3(**arguments)


@register("pooled_cnn")
def _pooled_cnn(**arguments: Any) -> Victim:
    from gradleak.victims.models.cnn import PooledCNN

    return PooledCNN(**arguments)


@register("mobilenet_v2")
def _mobilenet_v2(**arguments: Any) -> Victim:
    from gradleak.victims.models.mobilenet import MobileNetV2

    return MobileNetV2(**arguments)


BUILT_IN = frozenset(REGISTRY)
"""Models of this package. Tests look at these; the models of plug-ins are looked at when they are built."""


def build(
    name: str,
    *,
    num_classes: int,
    channels: int,
    image_size: int,
    seed: int,
    activation: str = "relu",
    batchnorm: bool = False,
    dropout: bool = False,
    n_hidden: int = 1,
    n_dim: int = 300,
    stem: str = "released",
) -> Victim:
    """Return a freshly initialised victim on the CPU, float32, in eval mode.

    The weights are a function of the arguments alone: the global generator is neither read nor moved.

    Args:
        name: a key of :data:`REGISTRY`.
        num_classes: C.
        channels: colour channels of an image.
        image_size: height and width in pixels.
        seed: seed of the victim stream.
        activation: see :data:`gradleak.plan.model_options.ACTIVATIONS`.
        batchnorm: LeNet-5 only.
        dropout: VGG only.
        n_hidden: FCN only.
        n_dim: FCN only.
        stem: ResNet only: ``released`` or ``imagenet``.

    Raises:
        InputError: unknown model, an option that the model does not have (see
            :mod:`gradleak.plan.model_options`), images that it cannot read, or a plug-in's model that cannot be built
            or is no victim (see :func:`gradleak.victims.models.check.check_victim`).
    """
    options = {
        "activation": activation,
        "batchnorm": batchnorm,
        "dropout": dropout,
        "n_hidden": n_hidden,
        "n_dim": n_dim,
        "stem": stem,
    }
    check_options(name, **options)
    check_images(name, channels=channels, image_size=image_size)
    if num_classes < 1:
        raise InputError(f"model {name}: num_classes={num_classes}; use at least 1")
    shape = {"num_classes": num_classes, "channels": channels, "image_size": image_size}
    arguments = {**shape, **{key: value for key, value in options.items() if key in OPTIONS[name]}}
    # Only the CPU generator: torch.manual_seed would also reseed every accelerator.
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.default_generator.manual_seed(stream_seed("victim", seed))
        if name in BUILT_IN:
            return REGISTRY[name](**arguments).eval()
        with plugins.guarded("models", name, f"model {name}: its builder"):
            victim = REGISTRY[name](**arguments)
        check_victim(name, victim, **shape)
    return victim.eval()
