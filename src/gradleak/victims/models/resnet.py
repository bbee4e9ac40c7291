"""ResNet (He et al. 2016) from torchvision's blocks, with the released iLRG code's stem or ImageNet's."""

from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck

from gradleak.victims.models.base import Victim
from gradleak.victims.models.initialise import kaiming_fan_out

WIDTHS = (64, 128, 256, 512)
DEPTHS: dict[int, tuple[type[BasicBlock] | type[Bottleneck], tuple[int, ...]]] = {
    18: (BasicBlock, (2, 2, 2, 2)),
    34: (BasicBlock, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)),
    101: (Bottleneck, (3, 4, 23, 3)),
    152: (Bottleneck, (3, 8, 36, 3)),
}
"""Layers -> block type and blocks per stage."""


class ResNet(Victim):
    """A stem, four stages of residual blocks, global average pooling, one linear layer.

    Parameters are named as in torchvision, except ``head`` for ``fc``, so that its pretrained weights fit the
    ``imagenet`` stem.

    Args:
        depth: 18, 34, 50, 101 or 152.
        num_classes: C.
        channels: colour channels of an image.
        image_size: any; the pooling is global.
        stem: ``released`` is one 3x3 convolution of stride 1 without pooling, for every image size, as in the
            released iLRG code (Ma et al. 2023); ``imagenet`` is 7x7 of stride 2 and max-pooling of stride 2.
    """

    def __init__(self, depth: int, *, num_classes: int, channels: int, image_size: int, stem: str = "released"):
        super().__init__()
        block, blocks = DEPTHS[depth]
        if stem == "imagenet":
            self.conv1 = nn.Conv2d(channels, WIDTHS[0], 7, stride=2, padding=3, bias=False)
            self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        else:
            self.conv1 = nn.Conv2d(channels, WIDTHS[0], 3, padding=1, bias=False)
            self.maxpool = nn.Identity()
        self.bn1 = nn.BatchNorm2d(WIDTHS[0])
        self.relu = nn.ReLU()
        inputs = WIDTHS[0]
        stages = []
        for width, count in zip(WIDTHS, blocks, strict=True):
            stages.append(_stage(block, inputs, width, count, stride=1 if width == WIDTHS[0] else 2))
            inputs = width * block.expansion
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(inputs, num_classes)
        kaiming_fan_out(self)

    def features(self, x: Tensor) -> Tensor:
        """Return the embeddings of images x [n, channels, height, width]: [n, 512] (18, 34) or [n, 2048]."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.avgpool(x).flatten(1)


def _stage(
    block: type[BasicBlock] | type[Bottleneck], inputs: int, width: int, count: int, *, stride: int
) -> nn.Sequential:
    """Return ``count`` blocks, of which the first changes resolution and width."""
    outputs = width * block.expansion
    shortcut = None
    if stride != 1 or inputs != outputs:
        shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs))
    first = block(inputs, width, stride, shortcut)
    return nn.Sequential(first, *(block(outputs, width) for _ in range(count - 1)))
