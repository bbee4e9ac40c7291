"""Victims by name.

A new model is one file beside this one and one row in each of ``REGISTRY`` and ``OPTIONS`` (``options.py``).
"""

from collections.abc import Callable, Mapping
from functools import partial

import torch

from gradleak.errors import InputError
from gradleak.models.base import Victim
from gradleak.models.fcn import FCN
from gradleak.models.lenet import LeNet
from gradleak.models.lenet5 import LeNet5
from gradleak.models.mobilenet import MobileNetV2
from gradleak.models.options import OPTIONS, check_images, check_options
from gradleak.models.resnet import ResNet
from gradleak.models.vgg import VGG
from gradleak.streams import stream_seed

REGISTRY: Mapping[str, Callable[..., Victim]] = {
    "fcn": FCN,
    "lenet5": LeNet5,
    "lenet": LeNet,
    "vgg11": partial(VGG, 11),
    "vgg13": partial(VGG, 13),
    "vgg16": partial(VGG, 16),
    "vgg19": partial(VGG, 19),
    "resnet18": partial(ResNet, 18),
    "resnet34": partial(ResNet, 34),
    "resnet50": partial(ResNet, 50),
    "resnet101": partial(ResNet, 101),
    "resnet152": partial(ResNet, 152),
    "mobilenet_v2": MobileNetV2,
}
"""Model name -> class; every class takes num_classes, channels, image_size and its options by keyword."""


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
