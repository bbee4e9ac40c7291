"""Roots that stand alone, and searches that have diverged."""

import pytest
import torch

from gradleak.attacks.exact.affine import Affine
from gradleak.attacks.exact.isolation import wander, weakly_isolated


class Quadratic:
    """|A s|^2 for each of some starts, of which one has left the numbers."""

    def __init__(self, slopes, diverged=-1):
        self.slope, self.slopes, self.diverged = torch.eye(2, dtype=torch.float64), slopes, diverged

    def of(self, rows):
        return Quadratic(self.slopes[rows])

    def cost(self, s):
        return (self.slopes @ s[..., None]).square().sum((1, 2))

    def normal(self, s):
        hessian = self.slopes.mT @ self.slopes
        if self.diverged >= 0:
            hessian[self.diverged] = torch.nan
        return self.cost(s), (hessian @ s[..., None])[..., 0], hessian


@pytest.fixture
def slopes():
    firm, weak = torch.eye(2), torch.diag(torch.tensor([1.0, 1e-3]))
    return torch.stack([firm, weak, firm]).double()


def affine():
    return Affine(torch.linalg.qr(torch.cat([torch.randn(4, 3), torch.ones(1, 3)]).double())[0])


def test_a_root_with_a_weak_direction_is_pushed(slopes):
    assert weakly_isolated(slopes.mT @ slopes).tolist() == [1]


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_search_that_diverged_does_not_end_the_others(slopes, value):
    hessian = slopes.mT @ slopes
    hessian[2] = value
    assert weakly_isolated(hessian).tolist() == [1]


def test_what_diverged_is_no_root(slopes):
    away = wander(Quadratic(slopes, diverged=2), affine(), torch.zeros(3, 2, dtype=torch.float64))
    assert away.isinf().tolist() == [False, False, True]
