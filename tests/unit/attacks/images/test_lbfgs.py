"""L-BFGS against torch.optim.LBFGS without line search, alone and side by side."""

import itertools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from gradleak.attacks.images.lbfgs import LBFGS

Function = Callable[[Tensor], Tensor]
"""A point [D] -> its value."""


def quadratic(D: int, *, seed: int, condition: float = 30.0) -> Function:
    """A random convex quadratic, with eigenvalues between 1/condition and 1."""
    generator = torch.Generator().manual_seed(seed)
    kwargs = {"generator": generator, "dtype": torch.float64}
    basis = torch.linalg.qr(torch.randn(D, D, **kwargs)).Q
    eigenvalues = torch.logspace(0, -torch.log10(torch.tensor(condition)).item(), D, dtype=torch.float64)
    matrix = (basis * eigenvalues) @ basis.T
    centre = torch.randn(D, **kwargs)
    return lambda x: 0.5 * (x - centre) @ matrix @ (x - centre)


def rosenbrock(x: Tensor) -> Tensor:
    return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()


def start(D: int, *, seed: int) -> Tensor:
    return torch.randn(D, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def by_torch(
    function: Function, point: Tensor, steps: int, *, history: int = 100, lr: float = 1.0
) -> list[list[Tensor]]:
    """Return for every call of step() the points of evaluation and the final point."""
    x = point.clone().requires_grad_()
    solver = torch.optim.LBFGS([x], lr=lr, max_iter=20, history_size=history)
    seen: list[list[Tensor]] = []

    def closure() -> Tensor:
        solver.zero_grad()
        seen[-1].append(x.detach().clone())
        value = function(x)
        value.backward()
        return value

    for _ in range(steps):
        seen.append([])
        solver.step(closure)
        seen[-1].append(x.detach().clone())
    return seen


def by_ours(
    functions: list[Function], points: list[Tensor], steps: int, *, history: int = 100, lr: float = 1.0
) -> list[list[Tensor]]:
    """Return the same for K problems, [K, D] each."""
    x = torch.stack(points)
    solver = LBFGS(lr=lr, history=history)
    seen: list[list[Tensor]] = []

    def closure(at: Tensor) -> tuple[Tensor, Tensor]:
        seen[-1].append(at.clone())
        free = at.clone().requires_grad_()
        values = torch.stack([function(row) for function, row in zip(functions, free, strict=True)])
        (gradients,) = torch.autograd.grad(values.sum(), free)
        return values.detach(), gradients

    for _ in range(steps):
        seen.append([])
        solver.step(x, closure)
        seen[-1].append(x.clone())
    return seen


def assert_same(ours: list[list[Tensor]], theirs: list[list[Tensor]], tolerance: float) -> None:
    """Require every evaluation of every step at the same point."""
    assert [len(points) for points in ours] == [len(points) for points in theirs]
    for mine, reference in zip(ours, theirs, strict=True):
        for a, b in zip(mine, reference, strict=True):
            torch.testing.assert_close(a[0], b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("history", [1, 5, 100])
@pytest.mark.parametrize("lr", [0.5, 1.0])
def test_a_quadratic_as_torch(history: int, lr: float):
    function, point = quadratic(30, seed=0), start(30, seed=1)
    theirs = by_torch(function, point, 3, history=history, lr=lr)
    assert float(function(theirs[-1][-1])) < 0.1 * float(function(point))
    assert_same(by_ours([function], [point], 3, history=history, lr=lr), theirs, 1e-9)


@pytest.mark.parametrize("point", [(-1.2, 1.0), (0.2, 0.3, -0.1, 0.4)])
def test_rosenbrock_as_torch(point: tuple[float, ...]):
    """Curved, so that the value sometimes rises and pairs must be refused."""
    at = torch.tensor(point, dtype=torch.float64)
    theirs = by_torch(rosenbrock, at, 6)
    values = [float(rosenbrock(x)) for x in theirs[0]]
    assert any(after > before for before, after in itertools.pairwise(values))
    assert float(rosenbrock(theirs[-1][-1])) < 1e-8
    assert_same(by_ours([rosenbrock], [at], 6), theirs, 1e-7)


def nearly_solved(x: Tensor) -> Tensor:
    return 0.5 * (torch.logspace(0, -0.5, len(x), dtype=torch.float64) * x.square()).sum()


def test_small_changes_end_a_call_but_the_problem_continues():
    """Overshooting steps change the value by less than 1e-9: torch takes few per call and continues in the next.

    A problem that rests while another is busy must then continue from its last step, as in torch.
    """
    point, lr = 6e-5 * start(12, seed=3), 1.9
    theirs = by_torch(nearly_solved, point, 5, lr=lr)
    assert [len(points) for points in theirs] == [4, 3, 3, 3, 2]
    assert_same(by_ours([nearly_solved], [point], 5, lr=lr), theirs, 1e-12)
    busy = quadratic(12, seed=0, condition=3.0)
    beside = by_ours([nearly_solved, busy], [point, start(12, seed=1)], 5, lr=lr)
    assert [len(points) for points in beside] == [21] * 5
    for mine, reference in zip(beside, theirs, strict=True):
        torch.testing.assert_close(mine[-1][0], reference[-1], rtol=1e-12, atol=1e-12)


def collapse(x: Tensor) -> Tensor:
    """Falls without bound, so fast that it soon becomes NaN."""
    return -torch.exp(x.square().sum())


D = 12
FUNCTIONS: dict[str, tuple[Function, Tensor]] = {
    "slow": (quadratic(D, seed=0, condition=1e4), start(D, seed=1)),
    "converges at once": (quadratic(D, seed=2, condition=1.0), start(D, seed=3)),
    "diverges": (collapse, start(D, seed=4)),
    "other": (quadratic(D, seed=5, condition=100), start(D, seed=6)),
    "begins at NaN": (quadratic(D, seed=9), torch.full((D,), torch.nan, dtype=torch.float64)),
    "begins solved": (lambda x: x.square().sum(), torch.zeros(D, dtype=torch.float64)),
}


def test_problems_side_by_side_equal_single_problems():
    steps = 5
    functions, points = zip(*FUNCTIONS.values(), strict=True)
    together = by_ours(list(functions), list(points), steps)
    for k, (name, (function, point)) in enumerate(FUNCTIONS.items()):
        alone = by_ours([function], [point], steps)
        for call, (mine, single) in enumerate(zip(together, alone, strict=True)):
            torch.testing.assert_close(
                mine[-1][k], single[-1][0], rtol=1e-8, atol=1e-10, equal_nan=True, msg=f"{name}, call {call}"
            )
    ended = dict(zip(FUNCTIONS, together[-1][-1], strict=True))
    values = {name: float(FUNCTIONS[name][0](x)) for name, x in ended.items()}
    assert values["other"] < 1e-6
    assert values["converges at once"] < 1e-12
    assert not torch.isfinite(torch.tensor(values["diverges"]))
    torch.testing.assert_close(ended["begins solved"], FUNCTIONS["begins solved"][1], rtol=0, atol=0)


@pytest.mark.parametrize("name", ["slow", "other", "converges at once"])
def test_problems_side_by_side_equal_torch(name: str):
    """Among problems that converge, diverge and begin at NaN."""
    steps = 5
    functions, points = zip(*FUNCTIONS.values(), strict=True)
    together = by_ours(list(functions), list(points), steps)
    k = list(FUNCTIONS).index(name)
    for mine, theirs in zip(together, by_torch(*FUNCTIONS[name], steps), strict=True):
        torch.testing.assert_close(mine[-1][k], theirs[-1], rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("resting", [0.0, torch.nan], ids=["solved", "NaN"])
def test_a_problem_that_never_moved_may_be_moved_from_outside(resting: float):
    """A box or a filter may move it between calls while others continue: its steps are those of a new problem."""
    point = start(D, seed=3)
    busy = quadratic(D, seed=0, condition=1e4)
    x = torch.stack([torch.full_like(point, resting), start(D, seed=1)])
    solver = LBFGS()

    def closure(at: Tensor) -> tuple[Tensor, Tensor]:
        free = at.clone().requires_grad_()
        values = torch.stack([nearly_solved(free[0]), busy(free[1])])
        (gradients,) = torch.autograd.grad(values.sum(), free)
        return values.detach(), gradients

    solver.step(x, closure)
    x[0] = point
    for theirs in by_torch(nearly_solved, point, 2):
        solver.step(x, closure)
        torch.testing.assert_close(x[0], theirs[-1], rtol=1e-8, atol=1e-10)
