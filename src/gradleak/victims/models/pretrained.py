"""torchvision's ImageNet weights for our victims."""

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlparse

import torch
from torch import Tensor, nn

from gradleak import extras
from gradleak.errors import InputError
from gradleak.plan.model_options import check_pretrained
from gradleak.victims import checkpoints
from gradleak.victims.models.base import Victim

if TYPE_CHECKING:
    from torchvision.models import WeightsEnum

_PREFIXES = {"resnet": {"fc.": "head."}, "mobilenet": {"features.": "body.", "classifier.1.": "head."}}
"""Family -> torchvision's prefix of a parameter name -> ours; all other names are equal."""


def load_pretrained(model: Victim, name: str) -> None:
    """Load torchvision's default ImageNet weights into a victim, in place and on its device.

    The last layer gets its weights only if the victim has 1000 classes, which are then those of ImageNet in the
    usual order (sorted wnids); otherwise it keeps its own, as a new head. The weights were trained on images with
    the normalisation of ImageNet.

    The file comes from the cache of torch.hub (``$TORCH_HOME/hub/checkpoints``), where you may place it yourself, or
    else it is downloaded there and checked by its hash. On an error the model does not change.

    Args:
        model: a ResNet with the stem ``imagenet``, or MobileNetV2, for images of 3 channels.
        name: the architecture of the model.

    Raises:
        InputError: the victim is of another kind, or the weights cannot be downloaded or read.
    """
    first = next(layer for layer in model.modules() if isinstance(layer, nn.Conv2d | nn.Linear))
    _, channels, *kernel = first.weight.shape
    check_pretrained(name, stem="imagenet" if kernel == [7, 7] else "released", channels=channels)
    with extras.needed_by("--pretrained"):
        import torchvision
    weights = torchvision.models.get_model_weights(name)["DEFAULT"]
    file = Path(torch.hub.get_dir(), "checkpoints", Path(urlparse(weights.url).path).name).absolute()
    prefixes = next(names for family, names in _PREFIXES.items() if name.startswith(family))
    tensors = {_rename(key, prefixes): tensor for key, tensor in _state_dict(weights, file).items()}
    if model.head.out_features != len(weights.meta["categories"]):
        tensors |= model.head.state_dict(prefix="head.")
    checkpoints.assign(model, tensors, file)


def _rename(key: str, prefixes: dict[str, str]) -> str:
    for theirs, ours in prefixes.items():
        if key.startswith(theirs):
            return ours + key.removeprefix(theirs)
    return key


def _state_dict(weights: "WeightsEnum", file: Path) -> dict[str, Tensor]:
    """Return the tensors of torchvision's weights, from the cache or downloaded."""
    if file.exists():
        try:
            return checkpoints.read(file)
        except InputError as error:
            raise InputError(
                f"--pretrained: {file} is not a readable file of weights; delete it to download it again"
            ) from error
    try:
        with redirect_stdout(sys.stderr):  # torch.hub reports downloads there; our standard output is for results
            return weights.get_state_dict(progress=False, check_hash=True, map_location="cpu", weights_only=True)
    # No connection, a wrong hash and an unwritable cache alike: the message quotes the error
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(
            f"--pretrained: cannot download {file.name} ({reason}); copy that file into {file.parent}, "
            "or give weights with --checkpoint FILE"
        ) from error
