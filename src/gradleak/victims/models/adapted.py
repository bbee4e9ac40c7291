"""Any network that returns logits, as a victim."""

from typing import Any

from torch import Tensor, nn

from gradleak.errors import InputError
from gradleak.victims.layers import linear_chain, logits_of
from gradleak.victims.models.base import Victim
from gradleak.victims.recording import linear_inputs


class Adapted(Victim):
    """A network whose logits come from a linear layer; that layer is its head.

    Its files of weights are those of the network.

    Args:
        network: any module that returns logits [n, C], alone or as :func:`gradleak.victims.layers.linear_chain` reads
            them; their layer is an ``nn.Linear``.
        images: [n, channels, height, width], n at least 2; one pass shows which layer that is.

    Raises:
        InputError: the pass fails, or no such layer gives the logits; one line, without the model's name.
    """

    def __init__(self, network: nn.Module, images: Tensor) -> None:
        super().__init__()
        try:
            chain = linear_chain(network, images)
        except InputError as error:
            raise InputError(str(error).removeprefix(f"model {type(network).__name__}: ")) from error
        if chain.output_function is not None:
            raise InputError(f"its output is that of {chain.output_function}; return the logits")
        self._read = chain.layers[-1].weight
        head = network.get_submodule(self._read.rpartition(".")[0])
        if not isinstance(head, nn.Linear):
            raise InputError(f"its logits come from a {type(head).__name__}; let an nn.Linear return them")
        self.head = head  # first, so that its parameters are named by it
        self.network = network

    def features(self, x: Tensor) -> Tensor:
        """Return what the head reads [n, d] of images x [n, channels, height, width], in eval mode."""
        return linear_inputs(self.network, [self._read], x)[0]

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits [n, C] of images x [n, channels, height, width]."""
        return logits_of(self.network(x), f"model {type(self.network).__name__}")

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """Return that of the network."""
        return self.network.state_dict(*args, **kwargs)

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """Load that of the network."""
        return self.network.load_state_dict(*args, **kwargs)
