"""L-BFGS for many independent problems side by side.

``torch.optim.LBFGS`` solves one problem per call: K reconstructions in one vector would share its step size and
curvature. This one keeps them per problem, in the same arithmetic: for a single problem it takes the steps of
``torch.optim.LBFGS`` without line search (Liu and Nocedal 1989; two-loop recursion of Nocedal 1980).
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

_CURVATURE = 1e-10
"""A pair (s, y) is kept only if y's is above this, so that the inverse Hessian stays positive definite."""

Closure = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Points [K, D] -> values [K] and derivatives [K, D]."""


@dataclass
class _Last:
    """The last step [K, D] of each problem, the gradient before it, its y's / y'y [K], and whether there was a step."""

    step: Tensor
    gradient: Tensor
    scale: Tensor
    moved: Tensor


@dataclass
class LBFGS:
    """State of K minimisations.

    Attributes:
        lr: step size; the first step is min(1, 1 / |g|_1) times it.
        history: number of pairs kept, from the last steps that any problem took; a problem that rests for longer than
            this while others continue loses its pairs.
        tolerance_grad: a problem whose largest derivative is at most this has converged.
        tolerance_change: likewise for the largest change of a step, and for the change of the value.
    """

    lr: float = 1.0
    history: int = 100
    tolerance_grad: float = 1e-7
    tolerance_change: float = 1e-9
    _pairs: list[tuple[Tensor, Tensor, Tensor]] = field(default_factory=list)
    _last: _Last | None = None

    def step(self, x: Tensor, closure: Closure, inner: int = 20) -> None:
        """Move x [K, D] in place by up to ``inner`` steps each; a problem that has converged or diverged stays."""
        value, gradient = closure(x)
        active = torch.isfinite(value) & (gradient.abs().amax(1) > self.tolerance_grad)
        if self._last is None:
            nothing = torch.zeros_like(gradient)
            self._last = _Last(nothing, nothing, torch.ones_like(value), torch.zeros_like(active))
        last = self._last
        for number in range(inner):
            direction = self._advance(gradient, active, last)
            size = torch.where(last.moved, 1.0, (1 / gradient.abs().sum(1).clamp(min=1e-30)).clamp(max=1.0)) * self.lr
            going = active & ((gradient * direction).sum(1) <= -self.tolerance_change)
            step = torch.where(going[:, None], size[:, None] * direction, 0.0)
            # A resting problem keeps its last step, for the pair that it makes when it continues.
            last.step = torch.where(active[:, None], step, last.step)
            last.gradient = torch.where(active[:, None], gradient, last.gradient)
            last.moved = last.moved | active
            if not bool(going.any()):
                break
            x.add_(step)
            if number == inner - 1:
                break
            before = value
            value, gradient = closure(x)
            active = going & torch.isfinite(value)
            active = active & (gradient.abs().amax(1) > self.tolerance_grad)
            active = active & (step.abs().amax(1) > self.tolerance_change)
            active = active & ((value - before).abs() >= self.tolerance_change)

    def _advance(self, gradient: Tensor, active: Tensor, last: _Last) -> Tensor:
        """Add the pairs of the active problems' last steps and return their next directions, [K, D]."""
        y, s = gradient - last.gradient, last.step
        ys = (y * s).sum(1)
        good = active & (ys > _CURVATURE)
        if bool(good.any()):
            # A pair that is not added is zero and so has no effect on the recursion; others of its age have one.
            y, s = (torch.where(good[:, None], part, 0.0) for part in (y, s))
            rho = torch.where(good, 1 / torch.where(good, ys, 1.0), 0.0)
            self._pairs = [*self._pairs[-(self.history - 1) :], (s, y, rho)] if self.history > 1 else [(s, y, rho)]
            last.scale = torch.where(good, ys / torch.where(good, y.square().sum(1), 1.0), last.scale)
        direction = -gradient
        weights = []
        for s_old, y_old, rho_old in reversed(self._pairs):
            weight = rho_old * (s_old * direction).sum(1)
            direction = direction - weight[:, None] * y_old
            weights.append(weight)
        direction = direction * last.scale[:, None]
        for (s_old, y_old, rho_old), weight in zip(self._pairs, reversed(weights), strict=True):
            direction = direction + s_old * (weight - rho_old * (y_old * direction).sum(1))[:, None]
        return direction
