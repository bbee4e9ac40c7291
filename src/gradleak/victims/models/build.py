"""Victims by name.

They are entries of the catalogue, imported on first use: torchvision's models take two seconds to import.
"""

import torch

from gradleak.errors import InputError
from gradleak.plan import catalogue, plugins
from gradleak.plan.model_options import check_images, check_options
from gradleak.streams import stream_seed
from gradleak.victims.models.base import Victim
from gradleak.victims.models.check import as_victim


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

    The weights depend only on the arguments: the global generator is neither read nor advanced.

    Args:
        name: name in the catalogue.
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
            or is not a valid victim (see :func:`gradleak.victims.models.check.as_victim`).
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
    facts = catalogue.find("models", name)
    arguments = {**shape, **facts.arguments, **{key: options[key] for key in facts.options}}
    builder = catalogue.load("models", name)
    # Only the CPU generator: torch.manual_seed would also reseed every accelerator.
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.default_generator.manual_seed(stream_seed("victim", seed))
        if catalogue.source_of("models", name) is None:
            return builder(**arguments).eval()
        with plugins.guarded("models", name, f"model {name}: its builder"):
            victim = builder(**arguments)
        return as_victim(name, victim, **shape)
