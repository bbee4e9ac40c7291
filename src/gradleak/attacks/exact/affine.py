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
    """

    def __init__(self, right: Tensor) -> None:
        last = right[-1]
        r = len(last)
        identity = torch.eye(r, dtype=right.dtype, device=right.device)
        complete, _ = torch.linalg.qr(torch.cat([last[:, None], identity], dim=1))
        self._right = right
        self._free = complete[:, 1:r]  # orthonormal basis of the coordinates t with last . t = 0
        self._fixed = last / last.square().sum()
        self.origin = right[:-1] @ self._fixed
        self.basis = right[:-1] @ self._free

    def unknowns(self, t: Tensor) -> Tensor:
        """Return s [m, r - 1] of coordinates t [m, r] in the row space, whose last entry is scaled to 1."""
        t = t / (t @ self._right[-1])[:, None]
        return (t - self._fixed) @ self._free

    def inputs(self, s: Tensor) -> Tensor:
        """Return h [m, in] of s [m, r - 1]."""
        return self.origin + s @ self.basis.T
