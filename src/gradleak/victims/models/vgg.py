"""VGG with BatchNorm (Simonyan and Zisserman 2015), as the iLRG experiments use it (Ma et al. 2023)."""

from torch import Tensor, nn

from gradleak.victims.models.base import Victim
from gradleak.victims.models.initialise import kaiming_fan_out

WIDTHS = (64, 128, 256, 512, 512)
DEPTHS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
"""Layers -> convolutions per block; the other three layers are linear."""


class VGG(Victim):
    """Five blocks of 3x3 convolutions with BatchNorm and ReLU, each max-pooled by 2, then 4096 - 4096 - C.

    Args:
        depth: 11, 13, 16 or 19.
        num_classes: C.
        channels: colour channels of an image.
        image_size: height and width in pixels, a multiple of 32; the classifier reads
            512 * (image_size / 32)^2 inputs (512 at 32, 25088 at 224).
        dropout: dropout 0.5 after both hidden linear layers; acts in training mode only.
    """

    def __init__(self, depth: int, *, num_classes: int, channels: int, image_size: int, dropout: bool = False):
        super().__init__()
        layers: list[nn.Module] = []
        inputs = channels
        for width, convolutions in zip(WIDTHS, DEPTHS[depth], strict=True):
            for _ in range(convolutions):
                layers += [nn.Conv2d(inputs, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()]
                inputs = width
            layers.append(nn.MaxPool2d(2))
        self.body = nn.Sequential(*layers, nn.Flatten())
        hidden: list[nn.Module] = []
        inputs = WIDTHS[-1] * (image_size // 32) ** 2
        for _ in range(2):
            hidden += [nn.Linear(inputs, 4096), nn.ReLU()]
            if dropout:
                hidden.append(nn.Dropout(0.5))
            inputs = 4096
        self.classifier = nn.Sequential(*hidden)
        self.head = nn.Linear(inputs, num_classes)
        kaiming_fan_out(self)

    def features(self, x: Tensor) -> Tensor:
        """Return the embeddings [n, 4096] of images x [n, channels, image_size, image_size]."""
        return self.classifier(self.body(x))
