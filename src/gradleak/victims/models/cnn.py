"""Two small convolutional victims without BatchNorm: one ends in three linear layers, one in pooled features."""

from torch import Tensor, nn

from gradleak.victims.models.activations import ACTIVATIONS
from gradleak.victims.models.base import Victim
from gradleak.victims.models.initialise import kaiming_fan_out


class CNN3(Victim):
    """Three blocks of 3x3 convolution, activation and 2x2 max-pooling, then three linear layers.

    The blocks have 32, 64 and 128 maps; the linear layers are 128 (image_size // 8)^2 - 1024 - 1024 - C, so that they
    read 2048 features of an image of 32 x 32. An activation follows every layer but the last.

    Args:
        num_classes: C.
        channels: colour channels of an image.
        image_size: height and width in pixels, at least 8.
        activation: ``relu``, ``silu``, ``gelu`` or ``sigmoid``.
    """

    def __init__(self, *, num_classes: int, channels: int, image_size: int, activation: str = "relu"):
        super().__init__()
        act = ACTIVATIONS[activation]
        layers: list[nn.Module] = []
        inputs = channels
        for maps in (32, 64, 128):
            layers += [nn.Conv2d(inputs, maps, 3, padding=1), act(), nn.MaxPool2d(2)]
            inputs = maps
        layers.append(nn.Flatten())
        inputs *= (image_size // 8) ** 2
        for _ in range(2):
            layers += [nn.Linear(inputs, 1024), act()]
            inputs = 1024
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(inputs, num_classes)
        kaiming_fan_out(self)

    def features(self, x: Tensor) -> Tensor:
        """Return the embeddings [n, 1024] of images x [n, channels, image_size, image_size]."""
        return self.body(x)


class PooledCNN(Victim):
    """Four 3x3 convolutions of 32, 64, 128 and 256 maps with average pooling, then one linear layer.

    An activation follows each convolution, then 2x2 average pooling, after the last one global average pooling. With
    ``silu`` the victim is smooth everywhere.

    Args:
        num_classes: C.
        channels: colour channels of an image.
        image_size: height and width in pixels, at least 8.
        activation: ``relu``, ``silu``, ``gelu`` or ``sigmoid``.
    """

    def __init__(self, *, num_classes: int, channels: int, image_size: int, activation: str = "relu"):
        super().__init__()
        act = ACTIVATIONS[activation]
        layers: list[nn.Module] = []
        inputs = channels
        for maps in (32, 64, 128, 256):
            pool = nn.AvgPool2d(2) if maps < 256 else nn.AdaptiveAvgPool2d(1)
            layers += [nn.Conv2d(inputs, maps, 3, padding=1), act(), pool]
            inputs = maps
        self.body = nn.Sequential(*layers, nn.Flatten())
        self.head = nn.Linear(inputs, num_classes)
        kaiming_fan_out(self)

    def features(self, x: Tensor) -> Tensor:
        """Return the embeddings [n, 256] of images x [n, channels, image_size, image_size]."""
        return self.body(x)
