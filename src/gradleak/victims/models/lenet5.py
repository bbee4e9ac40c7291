"""LeNet-5 (LeCun et al. 1998) as the iLRG experiments use it (Ma et al. 2023)."""

from torch import Tensor, nn

from gradleak.victims.models.activations import ACTIVATIONS
from gradleak.victims.models.base import Victim
from gradleak.victims.models.initialise import kaiming_fan_out


class LeNet5(Victim):
    """Two 5x5 convolutions (6 and 16 maps) with 2x2 max-pooling, then 120 - 84 - C.

    The activation follows every layer but the last; an optional BatchNorm stands between convolution and
    activation.

    Args:
        num_classes: C.
        channels: colour channels of an image.
        image_size: height and width in pixels, at least 16; 28 gives 256 and 32 gives 400 inputs to the first
            linear layer.
        activation: ``relu``, ``silu`` or ``leaky_relu``.
        batchnorm: BatchNorm after both convolutions.
    """

    def __init__(
        self,
        *,
        num_classes: int,
        channels: int,
        image_size: int,
        activation: str = "relu",
        batchnorm: bool = False,
    ):
        super().__init__()
        act = ACTIVATIONS[activation]
        layers: list[nn.Module] = []
        for inputs, maps in ((channels, 6), (6, 16)):
            layers.append(nn.Conv2d(inputs, maps, 5))
            if batchnorm:
                layers.append(nn.BatchNorm2d(maps))
            layers += [act(), nn.MaxPool2d(2)]
        side = ((image_size - 4) // 2 - 4) // 2
        layers += [nn.Flatten(), nn.Linear(16 * side**2, 120), act(), nn.Linear(120, 84), act()]
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(84, num_classes)
        kaiming_fan_out(self)

    def features(self, x: Tensor) -> Tensor:
        """Return the embeddings [n, 84] of images x [n, channels, image_size, image_size]."""
        return self.body(x)
