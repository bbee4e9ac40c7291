"""Forward consistency: what an input becomes at the next layers must lie in the row spaces of their gradients."""

from collections.abc import Sequence

import torch
from torch import Tensor

from gradleak.attacks.exact.network import Network, activate, augmented


class Affine:
    """Inputs h of a row space V [in + 1, r] whose augmented form ends with 1: h = h0 + M s, s [r - 1].

    Attributes:
        origin: h0 [in].
        basis: M [in, r - 1], orthonormal up to the last entry.
    """

    def __init__(self, right: Tensor) -> None:
        last = right[-1]
        size = last.norm()
        # An orthonormal basis of the coordinates t with last . t = 0: a Householder reflection of the first axis.
        r = len(last)
        full, _ = torch.linalg.qr(torch.cat([last[:, None] / size, torch.eye(r, dtype=right.dtype, device=right.device)], 1))
        self.right = right
        self.free = full[:, 1:r]  # [r, r - 1]
        self.fixed = last / size**2
        self.origin = right[:-1] @ self.fixed
        self.basis = right[:-1] @ self.free

    def coordinates(self, t: Tensor) -> Tensor:
        """Coordinates t [m, r] in the row space -> s [m, r - 1], after division by the last entry."""
        t = t / (t @ self.right[-1])[:, None]
        return (t - self.fixed) @ self.free

    def inputs(self, s: Tensor) -> Tensor:
        """Return h [m, in] of s [m, r - 1]."""
        return self.origin + s @ self.basis.T

    def row_space(self, s: Tensor) -> Tensor:
        """Return t [m, r] of s [m, r - 1]."""
        return self.fixed + s @ self.free.T


class Forward:
    """The part of the later layers' inputs outside their row spaces, for starts side by side.

    Args:
        network: the layers.
        affine: where the first layer's input lies.
        rights: row spaces [in + 1, r] of the gradients of the second, third, ... layer; as many as take part.
    """

    def __init__(self, network: Network, affine: Affine, rights: Sequence[Tensor]) -> None:
        self.network, self.affine, self.rights = network, affine, tuple(rights)
        first = network.layers[0]
        self.origin = first.weight @ affine.origin + first.bias
        self.slope = first.weight @ affine.basis  # [width, q]

    def _residuals(self, s: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        a = self.origin + s @ self.slope.T
        outside, slopes = [], []
        for index, V in enumerate(self.rights):
            h, slope = activate(self.network.layers[index], a)
            z = augmented(h)
            outside.append(z - (z @ V) @ V.T)
            slopes.append(slope)
            if index + 1 < len(self.rights):
                following = self.network.layers[index + 1]
                a = h @ following.weight.T + following.bias
        return outside, slopes

    def cost(self, s: Tensor) -> Tensor:
        """See :class:`gradleak.attacks.exact.levenberg.Problem`."""
        outside, _ = self._residuals(s)
        return sum((f.square().sum(1) for f in outside), s.new_zeros(len(s)))

    def normal(self, s: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """See :class:`gradleak.attacks.exact.levenberg.Problem`; with P the projector, J^T J = T^T T - (V^T T)^T (V^T T)."""
        q = s.shape[1]
        gradient, hessian, cost = s.new_zeros(len(s), q), s.new_zeros(len(s), q, q), s.new_zeros(len(s))
        outside, slopes = self._residuals(s)
        T = self.slope
        for index, (f, slope, V) in enumerate(zip(outside, slopes, self.rights, strict=True)):
            if index:
                T = self.network.layers[index].weight @ T
            T = slope[..., None] * T  # [m, width, q]
            K = V[:-1].T @ T
            cost += f.square().sum(1)
            gradient += (f[:, None, :-1] @ T)[:, 0]
            hessian += T.mT @ T - K.mT @ K
        return cost, gradient, hessian
