"""What the server sees of a client's batch: the threat model as a type, and ways to make one.

:func:`observation_of` takes gradients that a client has sent; the others compute them. :func:`observe_head` gives those
of the last linear layer in closed form, chunk by chunk, without autograd; :func:`observe_full` gives every parameter's
gradient by autograd. They agree to float precision.
"""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, islice

import torch
from torch import Tensor, nn
from torch.nn import functional

from gradleak.clients.given import Given, checked_batch_size, checked_model, checked_shape, given_tensors
from gradleak.errors import InputError
from gradleak.notes import note
from gradleak.victims.checkpoints import check_floating
from gradleak.victims.head import head_of, role_names

HEAD = ("head.weight", "head.bias")
"""Names of the gradients of the last layer."""

_NAMED = 4
"""Largest number of parameters that a message names."""


@dataclass(frozen=True)
class SideKnowledge:
    """What the server may know besides the gradient; by default nothing.

    Attributes:
        present_classes: [C] bool, the classes in the batch (for the simplified variant of iLRG).
    """

    present_classes: Tensor | None = None


@dataclass(frozen=True)
class Observation:
    """Everything that an attack gets: no image, no label and no embedding.

    Attributes:
        gradients: parameter name -> gradient of the mean cross-entropy over the batch, same shape as
            the parameter. It holds only what the client sends: the parameter exists, requires a gradient
            (:func:`trainable`), affects the output, and no defense withholds its gradient. Head observations hold
            ``head.weight`` [C, d] and ``head.bias`` [C] at most.
        model: the model that the server sent to the client, in eval mode; any network that ends in a linear layer. What
            that layer is, see :func:`gradleak.victims.head.head_of`.
        batch_size: B, or None if the client does not send it.
        side: optional further knowledge.
        input_shape: shape of one image as the model reads it.
        precision: type in which the gradients were sent, if it is coarser than that of the tensors, which hold what
            arrived; see :func:`gradleak.clients.precision.rounded`.
    """

    gradients: dict[str, Tensor]
    model: nn.Module
    batch_size: int | None
    side: SideKnowledge = field(default_factory=SideKnowledge)
    input_shape: tuple[int, ...] = ()
    precision: torch.dtype | None = None

    def example(self) -> Tensor:
        """Return two meaningless images [2, *input_shape], for passes that show how the model's layers are joined.

        Raises:
            InputError: their shape is not known.
        """
        if not self.input_shape:
            raise InputError("the observation has no input_shape: the shape of one image, such as (3, 32, 32)")
        size = math.prod(self.input_shape)
        weight = next(self.model.parameters())
        values = torch.linspace(-1, 1, 2 * size, device=weight.device, dtype=weight.dtype)
        return values.reshape(2, *self.input_shape)

    def lacks(self, names: Iterable[str]) -> list[str]:
        """Return the names of those gradients that the client did not send."""
        return [name for name in names if name not in self.gradients]

    def is_finite(self) -> bool:
        """Whether no gradient has a NaN or infinite entry."""
        return all(bool(torch.isfinite(gradient).all()) for gradient in self.gradients.values())

    @property
    def head_weight(self) -> Tensor:
        """Gradient of the last layer's weight, dL/dW, [C, d]."""
        return self.gradients["head.weight"]

    @property
    def head_bias(self) -> Tensor:
        """Gradient of the last layer's bias, dL/db, [C]."""
        return self.gradients["head.bias"]


@dataclass(frozen=True)
class BatchTruth:
    """What only the experimenter knows about the batch; metrics get it, attacks never do.

    Attributes:
        counts: [C] int64, instances per class.
        embeddings: [C, d] float64, mean embedding of each class in the batch (0 for absent classes).
        logits: [C, C] float64, mean logits of each class in the batch.
        probabilities: [C, C] float64, mean softmax output of each class in the batch.
        own_residual_embeddings: [C, d] float64, mean of (p_n[c] - 1) e_n over the images n of class c: row c of
            the weight gradient that these images alone would give. Only the error analysis needs it.
    """

    counts: Tensor
    embeddings: Tensor
    logits: Tensor
    probabilities: Tensor
    own_residual_embeddings: Tensor | None = None


def trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    """Return the parameters that require a gradient, each once, in the order of the model.

    Those of the last layer are ``head.weight`` and ``head.bias``, whatever their names in the model, as soon as
    :func:`gradleak.victims.head.head_of` has followed it; the observing functions see to that.

    A tied parameter has one gradient, the sum over the layers that share it. If the head is one of them, the parameter
    has its name in the other layer: its gradient is not that of the last layer alone, which ``head.weight`` means. A
    head that is also registered under a second name is still the head.

    Raises:
        InputError: see :func:`gradleak.victims.head.role_names`.
    """
    roles = role_names(model)
    head = getattr(model, "head", None)
    names: dict[nn.Parameter, str] = {}
    of_head: set[nn.Parameter] = set()
    for prefix, module in model.named_modules(remove_duplicate=False):
        for name, parameter in module.named_parameters(recurse=False):
            if module is head:
                if parameter not in names:
                    of_head.add(parameter)
                    names[parameter] = f"head.{name}"
            elif parameter not in names or parameter in of_head:
                of_head.discard(parameter)
                names[parameter] = f"{prefix}.{name}" if prefix else name
    return {roles.get(name, name): parameter for parameter, name in names.items() if parameter.requires_grad}


def sent_names(model: nn.Module, images: Tensor) -> list[str]:
    """Return the names of the parameters whose gradients a client of this model sends, and print which it leaves out.

    Args:
        model: in eval mode.
        images: [n, channels, height, width], any: they only show which parameters the logits depend on.
    """
    head = head_of(model, images)
    parameters = trainable(model)
    with torch.enable_grad():
        sent = list(_derivatives(head.logits(images).sum(), parameters))
    _say_unsent(model, sent)
    return sent


def _derivatives(value: Tensor, parameters: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
    """Return the derivatives of a scalar with respect to the parameters that it depends on."""
    if not parameters or not value.requires_grad:
        return {}
    derivatives = torch.autograd.grad(value, tuple(parameters.values()), allow_unused=True)
    return {name: gradient for name, gradient in zip(parameters, derivatives, strict=True) if gradient is not None}


def _say_unsent(model: nn.Module, sent: Collection[str]) -> None:
    left_out = {
        "frozen": [name for name, parameter in model.named_parameters() if not parameter.requires_grad],
        "unused": [name for name in trainable(model) if name not in sent],
    }
    parts = [
        f"{why}: {', '.join(names[:_NAMED])}" + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
        for why, names in left_out.items()
        if names
    ]
    if parts:
        note(f"clients send no gradient of parameters that are {'; '.join(parts)}")


def observe_head(
    model: nn.Module, chunks: Iterable[tuple[Tensor, Tensor]], *, device: torch.device | str = "cpu"
) -> tuple[Observation, BatchTruth]:
    """Gradients of the last linear layer z = W e + b of the mean cross-entropy, in closed form.

    With P = softmax(Z) [B, C], Y one-hot [B, C] and E [B, d]: dL/db = mean(P - Y), dL/dW = (P - Y)^T E / B
    (Ma et al. 2023, section 3). Sums run in float64 and are rounded once to the parameters' type.

    Gradients that no client sends are left out: those of a missing bias and of parameters that are frozen or shared
    with another layer.

    Args:
        model: the victim, any network that ends in a linear layer; it is put into eval mode, and lives on ``device``.
        chunks: pairs (images [n, channels, height, width] float32, labels [n] int64), n up to
            :func:`gradleak.victims.chunks.chunk_size`; the batch is their union, and memory depends on the largest
            chunk only.
        device: where the forward pass runs.

    Returns:
        The observation and, separately, the truth that metrics need.

    Raises:
        ValueError: the batch is empty.
        InputError: no linear layer gives the logits of a model that is not a
            :class:`gradleak.victims.models.base.Victim`.
    """
    model.eval()
    chunks = iter(chunks)
    first = list(islice(chunks, 1))
    if not first:
        raise ValueError("cannot observe an empty batch")
    head = head_of(model, first[0][0][:2].to(device))
    C, d = head.weight.shape
    kwargs = {"dtype": torch.float64, "device": device}
    weight, bias = torch.zeros(C, d, **kwargs), torch.zeros(C, **kwargs)
    counts = torch.zeros(C, dtype=torch.int64, device=device)
    embeddings, logits, probabilities, own = (torch.zeros(C, n, **kwargs) for n in (d, C, C, d))
    shape: tuple[int, ...] = ()
    # Fetched outside inference mode, which does not extend to the threads of a loader.
    for images, labels in chain(first, chunks):
        shape = tuple(images.shape[1:])
        with torch.inference_mode():
            images, labels = images.to(device, non_blocking=True), labels.to(device, non_blocking=True)
            if images.device.type == "cpu":
                # oneDNN's convolutions run 1.2 to 1.3 times as fast channels last, and the input's layout
                # alone decides, so the model needs no change. Folding BatchNorm gains too little to justify a copy.
                images = images.contiguous(memory_format=torch.channels_last)
            e = head.features(images)
            z = head(e)
            e, z = e.double(), z.double()
            p = torch.softmax(z, dim=1)
            onehot = functional.one_hot(labels, C).double()
            residual = p - onehot
            weight += residual.T @ e
            bias += residual.sum(0)
            counts += onehot.sum(0).long()
            embeddings.index_add_(0, labels, e)
            logits.index_add_(0, labels, z)
            probabilities.index_add_(0, labels, p)
            own.index_add_(0, labels, residual.gather(1, labels[:, None]) * e)
    B = int(counts.sum())
    if B == 0:
        raise ValueError("cannot observe an empty batch")
    # Outside inference mode, so that an attack may put these tensors into a graph.
    present = counts.clamp(min=1)[:, None]
    sent = trainable(model)
    gradients = {
        name: (total / B).to(head.weight.dtype)
        for name, total in zip(HEAD, (weight, bias), strict=True)
        if name in sent
    }
    truth = BatchTruth(
        counts.cpu(),
        (embeddings / present).cpu(),
        (logits / present).cpu(),
        (probabilities / present).cpu(),
        (own / present).cpu(),
    )
    return Observation(gradients, model, B, input_shape=shape), truth


@torch.inference_mode(mode=False)  # attacks may put the gradients into a graph
def observation_of(
    model: nn.Module,
    gradients: Mapping[str, Given],
    *,
    input_shape: Sequence[int],
    batch_size: int | None = None,
    side: SideKnowledge | None = None,
) -> Observation:
    """Return what a server sees that has these gradients from a client.

    Args:
        model: what the server sent, any network that ends in a linear layer; it is left as it is.
        gradients: the model's own name of a parameter -> gradient of the mean cross-entropy, as it was sent, in any
            floating-point type; None, or no entry, where it was not sent.
        input_shape: shape of one image as the model reads it.
        batch_size: B, if it is known.
        side: further knowledge.

    Raises:
        InputError: a name or shape that is not the model's, integers in place of a gradient, no linear layer gives its
            logits, or an argument of another type.
    """
    sent_by_name = given_tensors(gradients, "gradients")
    size, shape = checked_batch_size(batch_size), checked_shape(input_shape)
    seen = Observation({}, checked_model(model), size, side or SideKnowledge(), shape)
    head_of(model, seen.example())
    parameters = dict(model.named_parameters(remove_duplicate=False))
    roles = {id(parameter): name for name, parameter in trainable(model).items()}
    sent = {}
    for name, gradient in sent_by_name.items():
        parameter = parameters.get(name)
        if parameter is None:
            raise InputError(f"gradient of {name}: the model has no such parameter; it has {', '.join(parameters)}")
        if gradient.shape != parameter.shape:
            raise InputError(
                f"gradient of {name}: has shape {list(gradient.shape)}, the parameter has {list(parameter.shape)}"
            )
        check_floating(gradient, f"gradient of {name}:")
        sent[roles.get(id(parameter), name)] = gradient.to(parameter)
    coarse = [gradient.dtype for gradient in sent_by_name.values() if gradient.dtype in (torch.float16, torch.bfloat16)]
    return replace(seen, gradients=sent, precision=coarse[0] if coarse else None)


@torch.inference_mode(mode=False)
def observe_full(model: nn.Module, images: Tensor, labels: Tensor) -> Observation:
    """Gradients of all :func:`trainable` parameters by autograd, in eval mode.

    Parameters that the loss does not depend on have none; a line on standard error names them.

    Args:
        model: the victim, any network that ends in a linear layer; it is put into eval mode.
        images: [B, channels, height, width].
        labels: [B] int64.

    Raises:
        InputError: no linear layer gives the logits of a model that is not a
            :class:`gradleak.victims.models.base.Victim`.
    """
    model.eval()
    loss = functional.cross_entropy(head_of(model, images[:2]).logits(images), labels)
    gradients = _derivatives(loss, trainable(model))
    _say_unsent(model, gradients)
    return Observation(gradients, model, len(labels), input_shape=tuple(images.shape[1:]))
