"""MobileNetV2 (Sandler et al. 2018) from torchvision."""

from torch import Tensor, nn
from torchvision.models.mobilenetv2 import MobileNetV2 as TorchvisionMobileNetV2

from gradleak.victims.models.base import Victim
from gradleak.victims.models.initialise import kaiming_fan_out


class MobileNetV2(Victim):
    """torchvision's body and global average pooling, then one linear layer.

    Unlike torchvision's, the last layer has the PyTorch initialisation, as in all victims here, and there is
    no dropout before it.

    Args:
        num_classes: C.
        channels: colour channels of an image.
        image_size: any; the pooling is global.
    """

    def __init__(self, *, num_classes: int, channels: int, image_size: int):
        super().__init__()
        body = TorchvisionMobileNetV2(num_classes=1).features
        if channels != 3:
            stem = body[0]
            assert isinstance(stem, nn.Sequential)
            stem[0] = nn.Conv2d(channels, 32, 3, stride=2, padding=1, bias=False)
        self.body = body
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(1280, num_classes)
        kaiming_fan_out(self)

    def features(self, x: Tensor) -> Tensor:
        """Return the embeddings [n, 1280] of images x [n, channels, height, width]."""
        return self.avgpool(self.body(x)).flatten(1)
