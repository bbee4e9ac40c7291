"""L-BFGS for many independent problems side by side.

``torch.optim.LBFGS`` solves one problem per call, and its step size and curvature are those of the whole vector it
gets; K reconstructions in one vector would share them. This one keeps them per problem, in the same arithmetic: for
one problem it takes the steps of ``torch.optim.LBFGS`` without line search (Liu and Nocedal 1989; two-loop recursion
of Nocedal 1980).
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

_CURVATURE = 1e-10
"""A pair of steps is kept only if y's is above this, so that the inverse Hessian stays positive definite."""

Closure = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Points [K, D] -> values [K] and derivatives [K, D]."""


@dataclass
class LBFGS:
    """State of K minimisations.

    Attributes:
        lr: step size; the very first step is min(1, 1 / |g|_1) times it.
        history: pairs of steps kept per problem.
        tolerance_grad: a problem whose largest derivative is at most this has converged.
        tolerance_change: likewise for the largest change of a step, and for the change of the value.
    """

    lr: float = 1.0
    history: int = 100
    tolerance_grad: float = 1e-7
    tolerance_change: float = 1e-9
    _pairs: list[tuple[Tensor, Tensor, Tensor]] = field(default_factory=list)
    _direction: Tensor | None = None
    _gradient: Tensor | None = None
    _step: Tensor | None = None
    _scale: Tensor | None = None

    def step(self, x: Tensor, closure: Closure, inner: int = 20) -> None:
        """Move x [K, D] in place by up to ``inner`` steps each; a problem that has converged or diverged stays."""
        value, gradient = closure(x)
        active = torch.isfinite(value) & (gradient.abs().amax(1) > self.tolerance_grad)
        for number in range(inner):
            if not bool(active.any()):
                break
            direction = self._advance(gradient, active)
            slope = (gradient * direction).sum(1)
            active = active & (slope <= -self.tolerance_change)
            size = torch.full_like(value, self.lr)
            if self._step is None:
                size = torch.minimum(torch.ones_like(value), 1 / gradient.abs().sum(1).clamp(min=1e-30)) * self.lr
            step = torch.where(active[:, None], size[:, None] * direction, 0.0)
            x.add_(step)
            self._step, self._gradient = step, gradient
            if number == inner - 1:
                break
            before = value
            value, gradient = closure(x)
            active = active & torch.isfinite(value)
            active = active & (gradient.abs().amax(1) > self.tolerance_grad)
            active = active & (step.abs().amax(1) > self.tolerance_change)
            active = active & ((value - before).abs() >= self.tolerance_change)

    def _advance(self, gradient: Tensor, active: Tensor) -> Tensor:
        """Take up the last step's pair and return the next direction, [K, D]."""
        if self._step is None or self._gradient is None:
            self._scale = torch.ones_like(gradient[:, 0])
            return -gradient
        assert self._scale is not None
        y, s = gradient - self._gradient, self._step
        ys = (y * s).sum(1)
        good = active & (ys > _CURVATURE)
        # A pair that is not taken up has weight 0 and so no part in the recursion; others of the same age have.
        rho = torch.where(good, 1 / torch.where(good, ys, 1.0), 0.0)
        if bool(good.any()):
            self._pairs = [*self._pairs[-(self.history - 1) :], (s, y, rho)] if self.history > 1 else [(s, y, rho)]
            self._scale = torch.where(good, ys / torch.where(good, y.square().sum(1), 1.0), self._scale)
        direction = -gradient
        weights = []
        for s_old, y_old, rho_old in reversed(self._pairs):
            weight = rho_old * (s_old * direction).sum(1)
            direction = direction - weight[:, None] * y_old
            weights.append(weight)
        direction = direction * self._scale[:, None]
        for (s_old, y_old, rho_old), weight in zip(self._pairs, reversed(weights), strict=True):
            direction = direction + s_old * (weight - rho_old * (y_old * direction).sum(1))[:, None]
        return direction
