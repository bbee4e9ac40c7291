"""Whether a victim suits attacks that rely on its second derivatives."""

import torch

from gradleak.clients.rounds import Round
from gradleak.notes import note


def note_kinks(round_: Round, optimizer: str) -> None:
    """Print a note if L-BFGS is to attack a victim whose second derivatives with respect to the image vanish."""
    if optimizer == "lbfgs" and is_piecewise_linear(round_):
        note(
            "--rec-optimizer lbfgs on a piecewise linear victim (ReLU): second derivatives vanish almost everywhere, "
            "so matching often stalls; use --rec-optimizer adam, or a smooth activation if the model has one"
        )


def is_piecewise_linear(round_: Round) -> bool:
    """Whether the second derivative of the logits is exactly 0, along random directions at random images."""
    facts = round_.data.facts
    generator = torch.Generator().manual_seed(0)
    shape = (2, facts.channels, facts.image_size, facts.image_size)
    x, along = (torch.randn(shape, generator=generator).to(round_.device) for _ in range(2))
    x.requires_grad_()
    # The client's copy of the model has the BatchNorm mode of the run.
    logits = round_.client.model(x)
    if not logits.requires_grad:
        return True
    weights = torch.randn(logits.shape, generator=generator).to(logits)
    (first,) = torch.autograd.grad((weights * logits).sum(), x, create_graph=True)
    if not first.requires_grad:
        return True
    (second,) = torch.autograd.grad((along * first).sum(), x, allow_unused=True)
    return second is None or not bool(second.any())
