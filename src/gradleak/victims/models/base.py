"""The interface of victims: features, then one linear head."""

from abc import ABC, abstractmethod

from torch import Tensor, nn


class Victim(nn.Module, ABC):
    """A classifier ``head(features(x))`` whose last layer is linear, z = W e + b.

    Subclasses set ``self.head`` and define :meth:`features`. Parameters may be frozen, unused or tied, and the head may
    have no bias: the server sees whatever such a client sends (:class:`gradleak.clients.observation.Observation`).

    Attributes:
        head: the last layer, W [C, d] and, unless it has none, b [C].
    """

    head: nn.Linear

    @abstractmethod
    def features(self, x: Tensor) -> Tensor:
        """Return the embeddings e [n, d] of images x [n, channels, height, width]."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits [n, C] of images x [n, channels, height, width]."""
        return self.head(self.features(x))
