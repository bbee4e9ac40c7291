"""The fully connected victim ("DNN", FCN-3) of the iLRG experiments (Ma et al. 2023)."""

from torch import Tensor, nn

from gradleak.victims.models.activations import ACTIVATIONS
from gradleak.victims.models.base import Victim


class FCN(Victim):
    """Pixels - n_dim - (n_dim) * n_hidden - C, with an activation after every layer but the last.

    FCN-3 is ``n_hidden=1``. Linear layers keep the PyTorch initialisation.

    Args:
        num_classes: C.
        channels: colour channels of an image.
        image_size: height and width in pixels.
        n_hidden: square layers after the first; 0 to 4 in the depth study.
        n_dim: width of every layer, and so d.
        activation: ``relu`` as in the experiments, ``silu``, ``gelu`` or ``sigmoid``.
    """

    def __init__(
        self,
        *,
        num_classes: int,
        channels: int,
        image_size: int,
        n_hidden: int = 1,
        n_dim: int = 300,
        activation: str = "relu",
    ):
        super().__init__()
        act = ACTIVATIONS[activation]
        layers: list[nn.Module] = [nn.Flatten()]
        width = channels * image_size**2
        for _ in range(1 + n_hidden):
            layers += [nn.Linear(width, n_dim), act()]
            width = n_dim
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(width, num_classes)

    def features(self, x: Tensor) -> Tensor:
        """Return the embeddings [n, n_dim] of images x [n, channels, image_size, image_size]."""
        return self.body(x)
