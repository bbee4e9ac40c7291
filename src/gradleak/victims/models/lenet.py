"""The small LeNet that DLG (Zhu, Liu, Han 2019) introduced for gradient inversion."""

from torch import Tensor, nn

from gradleak.victims.models.activations import ACTIVATIONS
from gradleak.victims.models.base import Victim


class LeNet(Victim):
    """Three 5x5 convolutions of 12 maps with strides 2, 2, 1 and padding 2, then one linear layer.

    All weights and biases are uniform in (-0.5, 0.5), so that the sigmoids leave their linear range.

    Args:
        num_classes: C.
        channels: colour channels of an image.
        image_size: height and width in pixels; d is 768 at 32 and 588 at 28.
        activation: ``sigmoid`` as in DLG (twice differentiable) or ``relu``.
    """

    def __init__(self, *, num_classes: int, channels: int, image_size: int, activation: str = "relu"):
        super().__init__()
        act = ACTIVATIONS[activation]
        layers: list[nn.Module] = []
        for inputs, stride in ((channels, 2), (12, 2), (12, 1)):
            layers += [nn.Conv2d(inputs, 12, 5, stride=stride, padding=2), act()]
        self.body = nn.Sequential(*layers, nn.Flatten())
        side = -(-image_size // 4)  # each stride of 2 rounds up
        self.head = nn.Linear(12 * side**2, num_classes)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -0.5, 0.5)

    def features(self, x: Tensor) -> Tensor:
        """Return the embeddings [n, d] of images x [n, channels, image_size, image_size]."""
        return self.body(x)
