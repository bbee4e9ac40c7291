"""The inputs that a row space allows."""

import torch
from torch import Tensor


class Affine:
    """Inputs h whose augmented form [h; 1] lies in a row space V [in + 1, r]: h = h0 + M s, s [r - 1].

    The condition that the last entry is 1 is built in, so that nothing has to weigh it.

    Args:
        right: V, orthonormal columns.

    Attributes:
        origin: h0 [in].
        basis: M [in, r - 1].
        fixed, free: coordinates t = fixed + free s in the row space, [r] and [r, r - 1].
    """

    def __init__(self, right: Tensor) -> None:
        last = right[-1]
        r = len(last)
        identity = torch.eye(r, dtype=right.dtype, device=right.device)
        complete, _ = torch.linalg.qr(torch.cat([last[:, None], identity], dim=1))
        self._right = right
        self.free = complete[:, 1:r]  # orthonormal basis of the coordinates t with last . t = 0
        self.fixed = last / last.square().sum()
        self.origin = right[:-1] @ self.fixed
        self.basis = right[:-1] @ self.free

    def unknowns(self, t: Tensor) -> Tensor:
        """Return s [m, r - 1] of coordinates t [m, r] in the row space, whose last entry is scaled to 1."""
        t = t / (t @ self._right[-1])[:, None]
        return (t - self.fixed) @ self.free

    def inputs(self, s: Tensor) -> Tensor:
        """Return h [m, in] of s [m, r - 1]."""
        return self.origin + s @ self.basis.T
