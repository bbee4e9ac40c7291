"""Gradient sparsification: small entries become zero."""

from gradleak.clients.defenses.base import Defense, DefenseContext, Gradients, below_percentile


def sparsify(percent: float) -> Defense:
    """Return a defense that zeroes, in each tensor, the entries of magnitude below the given percentile.

    The threshold is the percentile of |g| over the tensor, linearly interpolated, and entries with |g| < threshold are
    zeroed, as in the released iLRG code (Ma et al., ICLR 2023). Entries tied with the threshold stay: a tensor in which
    more than ``percent`` percent is already 0 does not change.

    Args:
        percent: percentage of entries to zero, in (0, 100].
    """

    def defend(gradients: Gradients, context: DefenseContext) -> Gradients:
        return {name: g.masked_fill(below_percentile(g.abs(), percent), 0) for name, g in gradients.items()}

    return defend
