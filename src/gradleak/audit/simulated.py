"""The user's client as the server simulates it, on the user's model."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from gradleak.audit.options import Told
from gradleak.clients.client import Client
from gradleak.clients.observation import Observation, trainable
from gradleak.errors import InputError
from gradleak.victims.head import head_of
from gradleak.victims.layers import logits_of

_EQUAL, _TINY = 1e-3, 1e-5
"""Difference of two entries that count as equal, over the entry, or over the root mean square of all."""


class _Classifier(nn.Module):
    """The user's model as gradient matching needs it: [n, c, h, w] in, logits out.

    Attributes:
        own: the model.
        shape: shape of one of its inputs.
        ends_in_softmax: whether its output are probabilities.
    """

    def __init__(self, own: nn.Module, shape: tuple[int, ...], *, ends_in_softmax: bool) -> None:
        super().__init__()
        self.own, self.shape, self.ends_in_softmax = own, shape, ends_in_softmax

    def forward(self, x: Tensor) -> Tensor:
        output = logits_of(self.own(x.reshape(len(x), *self.shape)), type(self.own).__name__)
        return output.clamp(min=1e-30).log() if self.ends_in_softmax else output


@dataclass(frozen=True)
class Simulated:
    """A client and what it sent.

    Attributes:
        client: computes what it would send for any batch.
        observed: what it sent, in the order of the client's names.
        num_classes: C.
        smoothing: label smoothing of its loss.
    """

    client: Client
    observed: tuple[Tensor, ...]
    num_classes: int
    smoothing: float

    def targets(self, labels: Tensor) -> Tensor:
        """Return the targets [B, C] of labels [B]."""
        return (1 - self.smoothing) * one_hot(labels, self.num_classes).to(self.observed[0]) + (
            self.smoothing / self.num_classes
        )

    def unchanged(self, images: Tensor, labels: Tensor) -> float:
        """Return the share of entries that were sent as the true batch gives them, of those that are not 0 there.

        It says what a defense of the client let through, where the gradient has its right scale.

        Args:
            images: [B, *input_shape].
            labels: [B] int64.
        """
        x = images.reshape(len(images), *picture_shape(tuple(images.shape[1:]))).to(self.observed[0])
        with torch.no_grad():
            true = self.client.send_many(x[None], self.targets(labels)[None])
        size = math.sqrt(sum(float(t.square().sum()) for t in true) / sum(t.numel() for t in true))
        equal = total = 0
        for (t,), g in zip(true, self.observed, strict=True):
            counts = t.abs() > _TINY * size
            equal += int((((g - t).abs() <= _EQUAL * t.abs() + _TINY * size) & counts).sum())
            total += int(counts.sum())
        return equal / total if total else 0.0


def simulated(observation: Observation, told: Told, *, ends_in_softmax: bool) -> Simulated:
    """Return the client of an observation.

    Args:
        observation: what the server sees.
        told: its training.
        ends_in_softmax: whether the model's output are probabilities.

    Raises:
        InputError: several steps without a learning rate.
    """
    if told.local_steps > 1 and told.lr is None:
        raise InputError("several local steps can only be simulated with --lr")
    model = observation.model
    parameters = dict(model.named_parameters())
    own = {role: name for name, role in _roles(model).items()}
    sent = {f"own.{own[name]}": g.to(parameters[own[name]]) for name, g in observation.gradients.items()}
    client = Client(_Classifier(model, observation.input_shape, ends_in_softmax=ends_in_softmax), told.training)
    client = client.sending([name for name in client.names if name in sent])
    observed = tuple(sent[name] for name in client.names)
    return Simulated(client, observed, head_of(model).out_features, told.smoothing)


def _roles(model: nn.Module) -> dict[str, str]:
    """Return the model's own name of each parameter -> its name among gradients."""
    named = {id(parameter): role for role, parameter in trainable(model).items()}
    return {name: named[id(p)] for name, p in model.named_parameters() if id(p) in named}


def picture_shape(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Return [c, h, w] of an input: a vector is one row."""
    return (shape[0], shape[1], shape[2]) if len(shape) == 3 else (1, 1, math.prod(shape))
