"""Exact inversion of an observation: which of its linear layers can take part, and what they give away."""

from dataclasses import dataclass

import torch
from torch import Tensor

from gradleak.attacks.exact.inversion import Inversion, invert
from gradleak.attacks.exact.network import Layer, Network
from gradleak.attacks.exact.spans import Span, decomposed
from gradleak.clients.observation import Observation
from gradleak.errors import InputError
from gradleak.victims.head import head_of, role_names
from gradleak.victims.layers import Chain, linear_chain


@dataclass(frozen=True)
class Seen:
    """The linear layers of a model of which gradients of weight and bias were sent, from some layer to the head.

    Attributes:
        network: the layers.
        gradients: [dL/dW | dL/db] of each, [out, in + 1], float64.
        precision: type in which they were sent.
        first: number of the first of them among the chain's layers.
        chain: all linear layers at the model's end.
    """

    network: Network
    gradients: tuple[Tensor, ...]
    precision: torch.dtype
    first: int
    chain: Chain

    @property
    def shows_images(self) -> bool:
        """Whether the inputs of the first layer are the images themselves."""
        return self.first == 0 and self.chain.reads_input

    def spans(self, batch_size: int | None) -> list[Span]:
        """Return the row and column spaces of the layers' gradients."""
        return decomposed(self.gradients, precision=self.precision, batch_size=batch_size)

    def invert(self, batch_size: int | None) -> Inversion:
        """Find the inputs of the first layer and the labels, see :func:`gradleak.attacks.exact.inversion.invert`."""
        return invert(self.network, self.gradients, precision=self.precision, batch_size=batch_size)

    def head(self) -> "Seen":
        """Return the last layer alone."""
        return self.without_first(len(self.network.layers) - 1)

    def without_first(self, number: int) -> "Seen":
        """Return the layers after the first ``number``, which leaves one or more."""
        network = Network(self.network.layers[number:], self.network.computed_in)
        return Seen(network, self.gradients[number:], self.precision, self.first + number, self.chain)


def see(observation: Observation) -> Seen:
    """Return what exact inversion can use of what the server sees.

    Args:
        observation: gradients of any layers; its model need not have been observed.

    Raises:
        InputError: the model has no linear head, or its gradients were not sent, or are not finite.
    """
    model, gradients, example = observation.model, observation.gradients, observation.example()
    chain = linear_chain(model, example)
    head_of(model, example)
    role = role_names(model)
    parameters = dict(model.named_parameters(remove_duplicate=False))
    layers: list[Layer] = []
    stacked: list[Tensor] = []
    sent: list[Tensor] = []
    for dense in reversed(chain.layers):
        names = [] if dense.bias is None else [dense.weight, dense.bias]
        found = [gradients[role.get(name, name)] for name in names if role.get(name, name) in gradients]
        if len(found) < 2:
            break
        whole = torch.cat([found[0].double(), found[1].double()[:, None]], dim=1)
        if not bool(whole.isfinite().all()):
            raise InputError(f"the gradient of {dense.weight} has entries that are not finite")
        W, b = (parameters[name].detach().double() for name in names)
        layers.insert(0, Layer(W, b, dense.activation))
        stacked.insert(0, whole)
        sent.append(found[0])
    if not layers:
        raise InputError(
            f"exact inversion needs the gradients of {chain.layers[-1].weight} and of its bias, which the client does "
            "not send"
        )
    network = Network(tuple(layers), parameters[chain.layers[-1].weight].dtype)
    precision = observation.precision or sent[0].dtype
    return Seen(network, tuple(stacked), precision, len(chain.layers) - len(layers), chain)
