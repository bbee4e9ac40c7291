"""Quality of reconstructed images.

Images are float tensors [n, channels, h, w] on the scale where 0 is black and 1 is white, not normalised. Guesses
are clamped to [0, 1] before anything is measured, since only that can be displayed. A guess with NaN gets NaN.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from gradleak.metrics.ssim import ssim
from gradleak.plan.metric_facts import PSNR_CAP, RECOVERED
from gradleak.victims.chunks import chunk_size
from gradleak.victims.head import head_of
from gradleak.victims.layers import linear_chain

_WORSE_THAN_ANY = 2.0
"""Cost of a pair with NaN in the assignment; the mean squared error of all other pairs is at most 1."""


def align(truth: Tensor, guess: Tensor, certified: Tensor | None = None) -> Tensor:
    """Return the order of the guesses that puts ``guess[order]`` beside ``truth``.

    It is the assignment with the least sum of mean squared errors (Hungarian method), to be used for all metrics
    alike. The gradient of a batch does not change with the order of its images, so no attack can know it.

    Guesses that an attack vouches for are assigned first, among themselves: the smallest total over all guesses may
    assign an exact image to the wrong original if that saves more on a poor guess.

    Args:
        truth: [n, channels, h, w] in [0, 1].
        guess: the same shape, in any order.
        certified: [n] bool, the guesses that the attack vouches for; none by default.

    Returns:
        [n] int64, a permutation, on the CPU.

    Raises:
        ValueError: the shapes differ.
    """
    from scipy.optimize import linear_sum_assignment

    x, y = (images.flatten(1) for images in _compared(truth, guess))
    errors = torch.nan_to_num(distances(x, y) ** 2 / max(1, x.shape[1]), nan=_WORSE_THAN_ANY).numpy()
    sure = torch.zeros(len(y), dtype=torch.bool) if certified is None else certified
    order = torch.full((len(x),), -1, dtype=torch.int64)
    for group in (sure, ~sure):
        places, guesses = torch.nonzero(order < 0).flatten(), torch.nonzero(group).flatten()
        rows, columns = linear_sum_assignment(errors[np.ix_(places.numpy(), guesses.numpy())])
        order[places[rows]] = guesses[columns]
    return order


def image_metrics(truth: Tensor, guess: Tensor) -> dict[str, Tensor]:
    """Compare images pair by pair.

    - ``mse``: mean squared error over the pixels and channels of an image.
    - ``psnr``: peak signal-to-noise ratio 10 log10(1 / mse) in dB, at most :data:`PSNR_CAP`. A mean of it is the
      mean over images, not the PSNR of their mean error.
    - ``ssim``: structural similarity, see :func:`gradleak.metrics.ssim.ssim`.
    - ``recovered``: 1 for a PSNR of at least :data:`gradleak.plan.metric_facts.RECOVERED` dB, else 0.

    Args:
        truth: [n, channels, h, w] in [0, 1].
        guess: the same shape, image by image beside ``truth``: see :func:`align`.

    Returns:
        Name -> [n] float64, on the CPU.

    Raises:
        ValueError: the shapes differ.
    """
    x, y = _compared(truth, guess)
    mse = (x - y).square().flatten(1).mean(dim=1)
    psnr = -10 * torch.log10(mse.clamp(min=10 ** (-PSNR_CAP / 10)))
    return {
        "mse": mse,
        "psnr": psnr,
        "ssim": ssim(x, y),
        "recovered": torch.where(psnr.isnan(), psnr, (psnr >= RECOVERED).double()),
    }


def feature_cosine(model: nn.Module, truth: Tensor, guess: Tensor, normalise: Callable[[Tensor], Tensor]) -> Tensor:
    """Return the cosine similarity between the victim's embeddings of the true and of the reconstructed images.

    The embedding is the input of the last layer. BatchNorm uses running statistics, whatever the mode of the model,
    which is restored. A zero embedding counts as 0.

    Args:
        model: the victim, on any device; unless it is a Victim, it must have been observed.
        truth: [n, channels, h, w] in [0, 1].
        guess: the same shape, image by image beside ``truth``: see :func:`align`.
        normalise: the normalisation of the victim's data set for images in [0, 1], e.g. ``data.normalise``.

    Returns:
        [n] float64, on the CPU.

    Raises:
        ValueError: the shapes differ.
    """
    x, y = _compared(truth, guess)
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        left, right = (_embeddings(model, images, normalise) for images in (x, y))
    finally:
        for module, training in modes.items():
            module.training = training
    return cosine_similarity(left, right, dim=1)


@torch.inference_mode()
def _embeddings(model: nn.Module, images: Tensor, normalise: Callable[[Tensor], Tensor]) -> Tensor:
    """Return the embeddings [n, d] float64 on the CPU of images in [0, 1]."""
    head = head_of(model)
    chunks = normalise(images).to(head.weight).split(chunk_size(max(images.shape[2:])))
    return torch.cat([head.features(chunk).double().cpu() for chunk in chunks])


def _compared(truth: Tensor, guess: Tensor) -> tuple[Tensor, Tensor]:
    """Return truth and guess as float64 on the CPU, the guess clamped to [0, 1]."""
    if truth.shape != guess.shape or truth.dim() != 4:
        raise ValueError(
            f"images of shape {list(truth.shape)} beside {list(guess.shape)}; both must be [n, channels, h, w]"
        )
    return truth.detach().double().cpu(), guess.detach().double().cpu().clamp(0, 1)


def relative_error(truth: Tensor, guess: Tensor) -> Tensor:
    """Return |guess - truth| / |truth| of each image, [n] of normalised images [n, c, h, w]; not clamped."""
    return (guess - truth).double().flatten(1).norm(dim=1) / truth.double().flatten(1).norm(dim=1).clamp(min=1e-300)


def first_inputs(model: nn.Module, images: Tensor) -> Tensor:
    """Return what the first of the linear layers at the model's end reads of normalised images, [n, d] on the CPU."""
    chain = linear_chain(model, images[:2])
    with torch.no_grad():
        return chain.body(images).detach().cpu()


def distances(x: Tensor, y: Tensor) -> Tensor:
    """Return the Euclidean distances [n, k] of vectors x [n, d] and y [k, d], to the precision of their type."""
    # Matrix products, which torch takes for many vectors, leave a distance of about 1e-8 between equal ones.
    return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")


def nearest_error(truth: Tensor, guess: Tensor) -> Tensor:
    """Return the relative error of the guess nearest to each vector, [n] of truth [n, d] and guess [k, d].

    Without a guess it is 1, that of a vector of zeros.
    """
    if not len(guess):
        return torch.ones(len(truth), dtype=torch.float64)
    nearest = distances(truth.double(), guess.double()).min(1).values
    return nearest / truth.double().norm(dim=1).clamp(min=1e-300)
