"""Learned perceptual image patch similarity, LPIPS v0.1 on AlexNet (Zhang et al., CVPR 2018).

Its weights are not part of this project and are never downloaded; without them LPIPS is not measured. They are two
published files, which may also be combined into one:

- AlexNet of torchvision, ``alexnet-owt-7be5be79.pth``: ``features.{0,3,6,8,10}.{weight,bias}`` (others are ignored);
- the linear layers of the LPIPS release, ``weights/v0.1/alex.pth``: ``lin{0..4}.model.1.weight``.
"""

from pathlib import Path

import torch
from torch import Tensor, nn

from gradleak import extras
from gradleak.errors import InputError
from gradleak.plan.lpips_files import REMEDY, SMALLEST_SIDE, weight_files
from gradleak.victims import checkpoints

_TAPS = (1, 4, 7, 9, 11)
"""Layers of ``features`` whose outputs are compared: after each of the five ReLUs."""

_SHIFT = (-0.030, -0.088, -0.188)
_SCALE = (0.458, 0.448, 0.450)
"""LPIPS' own normalisation of images in [-1, 1], per channel."""

_EPSILON = 1e-10
"""Keeps the unit length of a zero feature vector finite."""


class Lpips(nn.Module):
    """The LPIPS distance, on the device of the module; use :func:`load_lpips` to load it.

    Args:
        tensors: weights under the names in the docstring of the module.
        source: where they come from, for messages.

    Raises:
        InputError: a tensor is missing, has another shape, or holds integers.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, tensors: dict[str, Tensor], source: Path):
        with extras.needed_by("LPIPS"):
            from torchvision.models import AlexNet

        super().__init__()
        with torch.device("meta"):  # allocates nothing and draws nothing from the global generator
            self.features = AlexNet().features
            channels = [layer.out_channels for layer in self.features if isinstance(layer, nn.Conv2d)]
            self.heads = nn.ParameterList(torch.empty(1, c, 1, 1) for c in channels)
        names = {f"features.{name}": f"features.{name}" for name in self.features.state_dict()}
        names |= {f"lin{k}.model.1.weight": f"heads.{k}" for k in range(len(channels))}
        own = self.state_dict()
        for name, inner in names.items():
            if name not in tensors:
                raise InputError(f"{source}: has no {name}, which LPIPS v0.1 on AlexNet needs; {REMEDY}")
            if tensors[name].shape != own[inner].shape:
                actual, right = list(tensors[name].shape), list(own[inner].shape)
                raise InputError(f"{source}: {name} has shape {actual}, LPIPS on AlexNet needs {right}; {REMEDY}")
            checkpoints.check_floating(tensors[name], f"{source}: {name}")
        self.load_state_dict({inner: tensors[name].float() for name, inner in names.items()}, assign=True)
        self.register_buffer("shift", torch.tensor(_SHIFT)[:, None, None])
        self.register_buffer("scale", torch.tensor(_SCALE)[:, None, None])
        self.requires_grad_(False).eval()

    @torch.inference_mode()
    def forward(self, truth: Tensor, guess: Tensor) -> Tensor:
        """Return the distance of each pair of images; 0 for equal ones.

        Args:
            truth: [n, 3, h, w] or, grey, [n, 1, h, w], in [0, 1]; h and w at least
                :data:`gradleak.plan.lpips_files.SMALLEST_SIDE`.
            guess: the same shape, image by image beside ``truth``; clamped to [0, 1].

        Returns:
            [n] float64, on the CPU.

        Raises:
            InputError: the images are too small.
            ValueError: the shapes differ, or the images have neither 1 nor 3 channels.
        """
        if truth.shape != guess.shape or truth.dim() != 4 or truth.shape[1] not in (1, 3):
            shapes = f"{list(truth.shape)} beside {list(guess.shape)}"
            raise ValueError(f"images of shape {shapes}; both must be [n, 1 or 3, h, w]")
        h, w = truth.shape[2:]
        if min(h, w) < SMALLEST_SIDE:
            raise InputError(f"LPIPS of images of {h}x{w} pixels: AlexNet needs at least {SMALLEST_SIDE} per side")
        total = torch.zeros(len(truth), device=self.shift.device)
        for head, left, right in zip(self.heads, self._taps(truth), self._taps(guess.clamp(0, 1)), strict=True):
            total += ((left - right).square() * head).sum(dim=1).mean(dim=(1, 2))
        return total.double().cpu()

    def _taps(self, images: Tensor) -> list[Tensor]:
        """Return the five feature maps [n, c, h', w'] of images in [0, 1], of unit length at each position."""
        x = (2 * images.to(self.shift).expand(-1, 3, -1, -1) - 1 - self.shift) / self.scale
        taps = []
        for index, layer in enumerate(self.features[: _TAPS[-1] + 1]):
            x = layer(x)
            if index in _TAPS:
                taps.append(x / (x.norm(dim=1, keepdim=True) + _EPSILON))
        return taps


def load_lpips(path: Path) -> Lpips:
    """Return LPIPS with the weights at a path, see :func:`gradleak.plan.lpips_files.weight_files`.

    A file is safetensors (by its suffix) or a state dict of ``torch.save``.

    Raises:
        InputError: a file is missing or cannot be read, a tensor is missing or has another shape.
    """
    tensors: dict[str, Tensor] = {}
    for file in weight_files(path):
        tensors |= checkpoints.read(file)
    return Lpips(tensors, path)
