"""Victims by name.

A new model is one file beside this one and one row in each of ``REGISTRY`` and ``OPTIONS`` (``options.py``).
"""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

import torch

from gradleak.errors import InputError
from gradleak.models.base import Victim
from gradleak.models.options import OPTIONS, check_images, check_options
from gradleak.streams import stream_seed


def _lazily(module: str, name: str, *depth: int) -> Callable[..., Victim]:
    """Return a builder that imports its module on first use: torchvision's models take two seconds to import."""

    def make(**arguments: Any) -> Victim:
        return getattr(import_module(f"gradleak.models.{module}"), name)(*depth, **arguments)

    return make


REGISTRY: Mapping[str, Callable[..., Victim]] = {
    "fcn": _lazily("fcn", "FCN"),
    "lenet5": _lazily("lenet5", "LeNet5"),
    "lenet": _lazily("lenet", "LeNet"),
    "vgg11": _lazily("vgg", "VGG", 11),
    "vgg13": _lazily("vgg", "VGG", 13),
    "vgg16": _lazily("vgg", "VGG", 16),
    "vgg19": _lazily("vgg", "VGG", 19),
    "resnet18": _lazily("resnet", "ResNet", 18),
    "resnet34": _lazily("resnet", "ResNet", 34),
    "resnet50": _lazily("resnet", "ResNet", 50),
    "resnet101": _lazily("resnet", "ResNet", 101),
    "resnet152": _lazily("resnet", "ResNet", 152),
    "mobilenet_v2": _lazily("mobilenet", "MobileNetV2"),
}
"""Model name -> builder; every builder takes num_classes, channels, image_size and its options by keyword."""


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
        activation: LeNet-5: ``relu``, ``silu``, ``leaky_relu``; LeNet: ``relu``, ``sigmoid``.
        batchnorm: LeNet-5 only.
        dropout: VGG only.
        n_hidden: FCN only.
        n_dim: FCN only.
        stem: ResNet only: ``released`` or ``imagenet``.

    Raises:
        InputError: unknown model, an option that the model does not have (see
            :mod:`gradleak.models.options`), or images that it cannot read.
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
    arguments = {key: value for key, value in options.items() if key in OPTIONS[name]}
    # Only the CPU generator: torch.manual_seed would also reseed every accelerator.
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.default_generator.manual_seed(stream_seed("victim", seed))
        victim = REGISTRY[name](num_classes=num_classes, channels=channels, image_size=image_size, **arguments)
    return victim.eval()
