"""What the server sees of a client's batch: the threat model as a type, and the two ways to make it.

:func:`observe_head` gives the gradients of the last linear layer in closed form, chunk by chunk, without
autograd; :func:`observe_full` gives every parameter's gradient by autograd. They agree to float precision.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

from gradleak.models.base import Victim


@dataclass(frozen=True)
class SideKnowledge:
    """What the server may know besides the gradient. Everything is unknown unless a run says otherwise.

    Attributes:
        present_classes: [C] bool, the classes in the batch (for the simplified variant of iLRG).
    """

    present_classes: Tensor | None = None


@dataclass(frozen=True)
class Observation:
    """Everything that an attack is given. It holds no image, no label and no embedding.

    Attributes:
        gradients: parameter name -> gradient of the mean cross-entropy over the batch, same shape as
            the parameter. Head observations hold ``head.weight`` [C, d] and ``head.bias`` [C] only.
        model: the model that the server sent to the client, in eval mode.
        batch_size: B, or None if the client does not tell it.
        side: optional further knowledge.
    """

    gradients: dict[str, Tensor]
    model: Victim
    batch_size: int | None
    side: SideKnowledge = field(default_factory=SideKnowledge)

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
    """What only the experimenter knows of the batch; metrics take it, attacks never do.

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


def chunk_size(image_size: int) -> int:
    """Return how many images to put through a victim at once.

    The largest activations grow with the pixels: 64 images up to 80 px, then as many as have the pixels of
    those 64, so 8 at 224 px. Peak memory then hardly depends on the batch size, and a chunk is still large
    enough to keep the convolutions at their peak.

    Args:
        image_size: height and width in pixels.
    """
    return max(1, min(64, 64 * 80**2 // image_size**2))


def observe_head(
    model: Victim, chunks: Iterable[tuple[Tensor, Tensor]], *, device: torch.device | str = "cpu"
) -> tuple[Observation, BatchTruth]:
    """Gradients of the last linear layer z = W e + b of the mean cross-entropy, in closed form.

    With P = softmax(Z) [B, C], Y one-hot [B, C] and E [B, d]: dL/db = mean(P - Y), dL/dW = (P - Y)^T E / B
    (Ma et al. 2023, section 3). Sums run in float64 and are rounded once to the parameters' type.

    Args:
        model: the victim; it is put into eval mode, and lives on ``device``.
        chunks: pairs (images [n, channels, height, width] float32, labels [n] int64), n up to
            :func:`chunk_size`; the batch is their union, and memory depends on the largest chunk only.
        device: where the forward pass runs.

    Returns:
        The observation and, apart from it, the truth that metrics need.

    Raises:
        ValueError: the batch is empty.
    """
    model.eval()
    head = model.head
    C, d = head.weight.shape
    kwargs = {"dtype": torch.float64, "device": device}
    weight, bias = torch.zeros(C, d, **kwargs), torch.zeros(C, **kwargs)
    counts = torch.zeros(C, dtype=torch.int64, device=device)
    embeddings, logits, probabilities, own = (torch.zeros(C, n, **kwargs) for n in (d, C, C, d))
    for images, labels in chunks:  # fetched outside inference mode: a loader may use threads, which are not in it
        with torch.inference_mode():
            images, labels = images.to(device, non_blocking=True), labels.to(device, non_blocking=True)
            if images.device.type == "cpu":
                # oneDNN's convolutions run 1.2 to 1.3 times as fast channels last, and the input's layout
                # alone decides, so the model stays as it is. Folding BatchNorm gains too little for a copy.
                images = images.contiguous(memory_format=torch.channels_last)
            e = model.features(images)
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
    gradients = {
        "head.weight": (weight / B).to(head.weight.dtype).cpu(),
        "head.bias": (bias / B).to(head.weight.dtype).cpu(),
    }
    truth = BatchTruth(
        counts.cpu(),
        (embeddings / present).cpu(),
        (logits / present).cpu(),
        (probabilities / present).cpu(),
        (own / present).cpu(),
    )
    return Observation(gradients, model, B), truth


def observe_full(model: Victim, images: Tensor, labels: Tensor) -> Observation:
    """Gradients of every parameter by autograd, in eval mode.

    Args:
        model: the victim; it is put into eval mode.
        images: [B, channels, height, width].
        labels: [B] int64.
    """
    model.eval()
    loss = functional.cross_entropy(model(images), labels)
    names, parameters = zip(*model.named_parameters(), strict=True)
    gradients = torch.autograd.grad(loss, parameters)
    return Observation(dict(zip(names, gradients, strict=True)), model, len(labels))
