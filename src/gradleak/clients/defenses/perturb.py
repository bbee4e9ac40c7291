"""Soteria: the representation is perturbed by pruning columns of the last layer's gradient."""

import torch
from torch import Tensor

from gradleak.clients.defenses.base import Defense, DefenseContext, Gradients, below_percentile
from gradleak.errors import InputError
from gradleak.victims.head import Head, head_of

_EPSILON = 1e-10
_BUDGET = 2**18  # pixels times embedding units in one backward pass


def soteria(percent: float) -> Defense:
    """Return Soteria (Sun et al., CVPR 2021), which zeroes columns of dL/dW of the last layer.

    The columns are those whose :func:`soteria_scores` are below the given percentile of all scores (linearly
    interpolated; ties with the threshold stay). Other gradients do not change, and nothing changes if that of the last
    layer's weight is not sent.

    Args:
        percent: percentage of the embedding to prune, in (0, 100].
    """

    def defend(gradients: Gradients, context: DefenseContext) -> Gradients:
        if "head.weight" not in gradients:
            return dict(gradients)
        scores = soteria_scores(context)
        weight = gradients["head.weight"]
        pruned = below_percentile(scores, percent).to(weight.device)
        return {**gradients, "head.weight": weight.masked_fill(pruned, 0)}

    return defend


def soteria_scores(context: DefenseContext) -> Tensor:
    """Return the score of each embedding unit f, sum_n ||d e_nf / d x_n||_2 / (|e_nf| + 1e-10) (Sun et al., CVPR 2021).

    The released iLRG code (Ma et al., ICLR 2023) divides by e_nf + 1e-10, without the magnitude. That is the same for
    embeddings that are not negative, as after ReLU or sigmoid, pooled or not; after SiLU or LeakyReLU it would let
    images cancel. It also restricts the defense to ResNet-18, which is not necessary.

    The model is put into eval mode, so an image's embedding depends on that image alone and one backward pass from
    sum_n e_nf serves all images of a chunk; several units go through it at once.

    Args:
        context: ``chunks`` gives the batch, ``model`` the embeddings; parameters get no gradient.

    Returns:
        [d] float64, on the CPU.

    Raises:
        InputError: no derivative reaches the images.
    """
    head = head_of(context.model.eval())
    scores = torch.zeros(head.in_features, dtype=torch.float64)
    for images, _ in context.chunks():
        scores += _chunk_scores(head, images.to(head.weight.device)).cpu()
    return scores


def _chunk_scores(head: Head, images: Tensor) -> Tensor:
    x = images.detach().requires_grad_()
    with torch.enable_grad():
        e = head.features(x)
        totals = e.sum(0)
    if not totals.requires_grad:
        raise InputError(
            "defense perturb: it scores features by their derivative with respect to the image, and this "
            "victim's have none"
        )
    n, height, width = len(images), images.shape[-2], images.shape[-1]
    at_once = max(1, _BUDGET // (n * height * width))
    norms = []
    for units in torch.eye(len(totals), dtype=totals.dtype, device=totals.device).split(at_once):
        (jacobian,) = torch.autograd.grad(totals, x, units, retain_graph=True, is_grads_batched=True)
        norms.append(torch.linalg.vector_norm(jacobian.flatten(2), dim=2))  # [units, n]
    return (torch.cat(norms).T.double() / (e.detach().double().abs() + _EPSILON)).sum(0)
