"""Forward consistency: what an input becomes at the next layers must lie in the row spaces of their gradients."""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor

from gradleak.attacks.exact.affine import Affine
from gradleak.attacks.exact.backward import outside
from gradleak.attacks.exact.known import Known
from gradleak.attacks.exact.network import Network, activate, augmented


class Forward:
    """The part of the following layers' inputs outside their row spaces, for starts side by side.

    Args:
        network: the layers; only those that ``rights`` needs.
        affine: where the first layer's input lies.
        rights: row spaces V [in + 1, r] of the second, third, ... layer's gradients, as many as take part.
        dtype: of the unknowns; float32 is enough for a search, and twice as fast.
        known: equations that other images give; none by default.
        units: [n] int64, the outputs of the first layer that take part; all by default. Some are enough, and quicker,
            where the layer is much wider than the batch is large. Only with one row space.
    """

    def __init__(
        self,
        network: Network,
        affine: Affine,
        rights: Sequence[Tensor],
        *,
        units: Tensor | None = None,
        dtype: torch.dtype = torch.float64,
        known: Known | None = None,
    ) -> None:
        self.known = known
        self.rights = tuple(rights)
        first = network.layers[0]
        weight, bias = first.weight, first.bias
        if units is not None:
            weight, bias = weight[units], bias[units]
            self.rights = (torch.linalg.qr(torch.cat([rights[0][units], rights[0][-1:]]))[0],)
        self.origin = (weight @ affine.origin + bias).to(dtype)
        self.slope = (weight @ affine.basis).to(dtype)  # [width, q]
        self.rights = tuple(V.to(dtype) for V in self.rights)
        self.network = network.to(dtype) if len(self.rights) > 1 else network

    def of(self, rows: Tensor) -> "Forward":
        """Return the problem of some of the starts."""
        if self.known is None:
            return self
        other = copy.copy(self)
        other.known = self.known.of(rows)
        return other

    def _residuals(self, s: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        a = self.origin + s @ self.slope.T
        residuals, slopes = [], []
        for index, V in enumerate(self.rights):
            h, slope = activate(self.network.layers[index], a)
            residuals.append(outside(augmented(h), V))
            slopes.append(slope)
            if index + 1 < len(self.rights):
                following = self.network.layers[index + 1]
                a = h @ following.weight.T + following.bias
        return residuals, slopes

    def cost(self, s: Tensor) -> Tensor:
        """See :class:`gradleak.attacks.exact.levenberg.Problem`."""
        residuals, _ = self._residuals(s)
        total = sum((f.square().sum(1) for f in residuals), s.new_zeros(len(s)))
        return total if self.known is None else total + self.known.cost(s)

    def normal(self, s: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """See :class:`gradleak.attacks.exact.levenberg.Problem`.

        With T the derivative of a layer's input and P = V V^T, J^T J = T^T (I - P) T = T^T T - (V^T T)^T (V^T T).
        """
        q = s.shape[1]
        cost, gradient, hessian = s.new_zeros(len(s)), s.new_zeros(len(s), q), s.new_zeros(len(s), q, q)
        residuals, slopes = self._residuals(s)
        T = self.slope
        for index, (f, slope, V) in enumerate(zip(residuals, slopes, self.rights, strict=True)):
            if index:
                T = self.network.layers[index].weight @ T
            T = slope[..., None] * T  # [m, width, q]
            K = V[:-1].T @ T
            cost += f.square().sum(1)
            gradient += (f[:, None, :-1] @ T)[:, 0]
            hessian += T.mT @ T - K.mT @ K
        if self.known is not None:
            cost += self.known.cost(s)
            gradient += self.known.gradient(s)
            hessian += self.known.gram()
        return cost, gradient, hessian
