"""Error analysis of label restoration: each approximation of iLRG and each recovered quantity against the truth."""

import torch
from torch import Tensor, nn

from gradleak.attacks.labels.base import LabelGuess
from gradleak.attacks.labels.embeddings import recover_embeddings
from gradleak.clients.observation import BatchTruth, Observation
from gradleak.metrics.labels import label_metrics
from gradleak.victims.head import Head

EMBEDDING_MSE_CAP = 10.0
"""Largest contribution of a class to ``embedding_mse``, as in the published means."""

_COSINES = ("embedding_cosine", "output_cosine", "probability_cosine")
_APPROXIMATIONS = ("approx1", "approx2", "approx3", "approx4", "scale", "approx_out", "approx_probabilities")
_RECOVERED = ("embedding", "out", "probabilities")

METRICS = (
    *(f"{name}_{error}" for name in (*_APPROXIMATIONS, *_RECOVERED) for error in ("mse", "mre")),
    *_COSINES,
    "soteria_embedding_mse",
    "soteria_embedding_cosine",
)
"""Metrics that :func:`analyse` returns for a method that recovers embeddings and probabilities."""


def class_gradients(truth: BatchTruth) -> tuple[Tensor, Tensor]:
    """Return row i of the last layer's gradients of the mean loss over the class-i images alone, for every class i.

    dW^i[i] is the mean of (p_n[i] - 1) e_n over those images, db^i[i] the mean of p_n[i] - 1.

    Returns:
        [C, d] and [C], float64; 0 for absent classes.

    Raises:
        ValueError: the truth was made without ``own_residual_embeddings``.
    """
    if truth.own_residual_embeddings is None:
        raise ValueError("the error analysis needs truth.own_residual_embeddings, which observe_head gives")
    bias = truth.probabilities.diagonal() - 1.0
    return truth.own_residual_embeddings, torch.where(truth.counts > 0, bias, 0.0)


def analyse(
    observation: Observation,
    guess: LabelGuess,
    truth: BatchTruth,
    head: nn.Linear | Head,
    per_class_gradients: tuple[Tensor, Tensor] | None = None,
) -> dict[str, float]:
    """Measure the approximations behind iLRG and what it recovers (Ma et al., ICLR 2023, error analysis).

    With i a class of the batch, k_i its count, E_i, Z_i, P_i its mean embedding, logits and probabilities, and dW^i,
    db^i the gradients of its images alone (row i), an entry compares an approximation (left) with the truth (right):

    - ``approx1``: db^i E_i and dW^i; ``approx2``: (k_i / B) dW^i and dW[i]; ``approx3``: (k_i / B) db^i and db[i];
      ``approx4``: softmax(W E_i + b) and P_i; ``scale``: dW[i] / db[i] and dW^i / db^i;
      ``approx_out``: W E_i + b and Z_i; ``approx_probabilities``: softmax(Z_i) and P_i.
    - If the guess recovered embeddings ê_i: ``embedding``: ê_i and E_i; ``out``: W ê_i + b and Z_i; and if
      probabilities, ``probabilities``: these and P_i. Also the cosines of :func:`label_metrics`.
    - ``soteria_embedding``: dW[i] itself, read as the embedding (Sun et al., CVPR 2021), and E_i.

    Each is given as ``_mse``, the mean squared error, and ``_mre``, the mean of |left - right| / |right| in which
    infinite and NaN terms count as 0, as in the released code (they stay in the number of terms); both are means over
    the classes in the batch. A class contributes at most :data:`EMBEDDING_MSE_CAP` to ``embedding_mse``.
    ``soteria_embedding`` has ``_mse`` and ``_cosine``. dW[i] and db[i] are those observed, defended or not.

    Args:
        observation: what the server saw; only the head gradients are used.
        guess: the guess of a method.
        truth: the truth about the batch, B >= 1 instances.
        head: the last layer of the victim, W [C, d] and b [C].
        per_class_gradients: dW^i[i] [C, d] and db^i[i] [C] of every class; :func:`class_gradients` by default.

    Raises:
        ValueError: guess and truth differ in their number of classes, or there are no gradients per class.
    """
    scores = label_metrics(guess, truth, head=head)
    present = truth.counts > 0
    assert head.bias is not None  # its gradient is there
    W, b = head.weight.detach().double().cpu(), head.bias.detach().double().cpu()
    dW, db = (g.detach().double().cpu() for g in (observation.head_weight, observation.head_bias))
    own_dW, own_db = (
        g.double()[present] for g in (class_gradients(truth) if per_class_gradients is None else per_class_gradients)
    )
    scale = recover_embeddings(dW, db)[present]
    dW, db = dW[present], db[present]
    E, Z, P = truth.embeddings[present], truth.logits[present], truth.probabilities[present]
    share = truth.counts[present].double() / truth.counts.sum()
    out = torch.addmm(b, E, W.T)
    pairs = {
        "approx1": (own_db[:, None] * E, own_dW),
        "approx2": (share[:, None] * own_dW, dW),
        "approx3": ((share * own_db)[:, None], db[:, None]),
        "approx4": (torch.softmax(out, dim=1), P),
        "scale": (scale, recover_embeddings(own_dW, own_db)),
        "approx_out": (out, Z),
        "approx_probabilities": (torch.softmax(Z, dim=1), P),
    }
    if guess.embeddings is not None:
        recovered = guess.embeddings[present].double()
        pairs |= {"embedding": (recovered, E), "out": (torch.addmm(b, recovered, W.T), Z)}
    if guess.probabilities is not None:
        pairs["probabilities"] = (guess.probabilities[present].double(), P)
    values: dict[str, float] = {}
    for name, (left, right) in pairs.items():
        errors = _squared_errors(left, right)
        if name == "embedding":
            errors = errors.clamp(max=EMBEDDING_MSE_CAP)
        values[f"{name}_mse"] = errors.mean().item()
        values[f"{name}_mre"] = _mean_relative_error(left, right)
    values |= {name: scores[name] for name in _COSINES if name in scores}
    reading = LabelGuess(guess.presence, embeddings=observation.head_weight.detach().double().cpu())
    return values | {
        "soteria_embedding_mse": _squared_errors(dW, E).mean().item(),
        "soteria_embedding_cosine": label_metrics(reading, truth)["embedding_cosine"],
    }


def _squared_errors(left: Tensor, right: Tensor) -> Tensor:
    """Return the mean squared error of each row, [n] of two tensors [n, m]."""
    return (left - right).square().mean(dim=1)


def _mean_relative_error(left: Tensor, right: Tensor) -> float:
    """Return the mean over all entries of |left - right| / |right|; infinite and NaN terms count as 0."""
    ratios = (left - right).abs() / right.abs()
    return torch.where(torch.isfinite(ratios), ratios, 0.0).mean().item()
