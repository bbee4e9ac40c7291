"""Gradient matching on the user's model, as far as the time goes."""

import math
import time
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from gradleak.attacks.images.engine import Matching, reconstruct
from gradleak.attacks.images.problem import Problem
from gradleak.attacks.images.starts import start
from gradleak.audit.options import Told
from gradleak.audit.time_limit import limited
from gradleak.clients.client import Client
from gradleak.clients.observation import Observation, trainable
from gradleak.errors import InputError
from gradleak.streams import stream
from gradleak.victims.head import head_of
from gradleak.victims.layers import logits_of

STARTS = 2
"""Starts, of which the one with the smallest matching loss is kept."""

MOST_ITERATIONS = 4800
"""Iterations at most; as in the released code of Geiping et al. (NeurIPS 2020)."""

_TRIED = 1
"""Iterations from which the time of one is told; their result needs one more evaluation."""

_LEAST = 1.0
"""Seconds that matching gets in any case."""

_TOTAL_VARIATION = 1e-4


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
class Matched:
    """A reconstruction by gradient matching.

    Attributes:
        images: [B, *input_shape], as the model reads them.
        labels: [B] int64.
        loss: one minus the cosine of the gradients.
        iterations: how many there was time for.
        interrupted: whether the user stopped it.
    """

    images: Tensor
    labels: Tensor
    loss: float
    iterations: int
    interrupted: bool


def picture_shape(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Return [c, h, w] of an input: a vector is one row."""
    return (shape[0], shape[1], shape[2]) if len(shape) == 3 else (1, 1, math.prod(shape))


def match(
    observation: Observation,
    labels: Tensor,
    told: Told,
    *,
    output_function: str | None,
    seconds: float,
    progress: bool,
) -> Matched:
    """Reconstruct a batch by matching its gradient with restored labels (IG; Geiping et al., NeurIPS 2020).

    The cosine does not depend on the scale of the gradient.

    Args:
        observation: what the server sees.
        labels: [B] int64, restored.
        told: the client's training, normalisation and the seed.
        output_function: what the model puts its logits through.
        seconds: the time for it.
        progress: whether to show progress.

    Raises:
        InputError: no gradient was sent.
    """
    shape = picture_shape(observation.input_shape)
    problem = _problem(observation, labels, told, shape, softmax=output_function == "softmax")
    is_image = len(observation.input_shape) == 3
    matching = Matching(
        objective="sim",
        optimizer="adam",
        lr=0.1,
        schedule="step",
        iterations=_TRIED,
        signed=True,
        boxed=bool(told.std),
        tv_weight=_TOTAL_VARIATION if is_image else 0.0,
        log_every=MOST_ITERATIONS,
    )
    began = time.perf_counter()
    once = began
    for _ in range(2):  # the first one takes longer: torch imports parts of itself
        once = time.perf_counter()
        reconstruct(problem, matching)
    now = time.perf_counter()
    left = max(seconds - (now - began), _LEAST)
    iterations = int(0.95 * left / ((now - once) / (_TRIED + 1)))
    matching = replace(matching, iterations=max(1, min(MOST_ITERATIONS, iterations)))
    with limited(left) as limit:
        found = reconstruct(problem, matching, progress=progress)
    return Matched(
        images=found.images[0].reshape(len(labels), *observation.input_shape).detach().cpu(),
        labels=labels,
        loss=float(found.loss[0]),
        iterations=len(found.trace),
        interrupted=found.interrupted and not limit.is_up,
    )


def _problem(
    observation: Observation, labels: Tensor, told: Told, shape: tuple[int, int, int], *, softmax: bool
) -> Problem:
    model, C = observation.model, head_of(observation.model).out_features
    parameters = dict(model.named_parameters())
    sent = {}
    roles = {role: name for name, role in names_of(model).items()}
    for name, gradient in observation.gradients.items():
        sent[f"own.{roles.get(name, name)}"] = gradient.to(parameters[roles.get(name, name)])
    if not sent:
        raise InputError("no gradient was sent")
    classifier = _Classifier(model, observation.input_shape, ends_in_softmax=softmax)
    client = Client(classifier, told.training)
    client = client.sending([name for name in client.names if name in sent])
    like = next(iter(sent.values()))
    starts = [
        start("randn", (len(labels), *shape), 1.0, stream("audit", told.seed, number), lambda: torch.empty(0))
        for number in range(STARTS)
    ]
    targets = one_hot(labels, C).to(like)
    if told.smoothing:
        targets = (1 - told.smoothing) * targets + told.smoothing / C
    mean, std = (
        torch.tensor(each or (default,), dtype=like.dtype).reshape(-1, 1, 1)
        for each, default in ((told.mean, 0.0), (told.std, 1.0))
    )
    return Problem(
        client=client,
        observed=tuple(sent[name][None] for name in client.names),
        start=torch.stack(starts)[None].to(like),
        targets=targets[None],
        label_start=torch.zeros(1, STARTS, len(labels), C, dtype=like.dtype),
        low=((0 - mean) / std).expand(shape[0], 1, 1),
        high=((1 - mean) / std).expand(shape[0], 1, 1),
        precision=observation.precision,
    )


def names_of(model: nn.Module) -> dict[str, str]:
    """Return the model's own name of each parameter -> its name among gradients, see role_names."""
    named = {id(parameter): role for role, parameter in trainable(model).items()}
    return {name: named[id(p)] for name, p in model.named_parameters() if id(p) in named}
