"""Regularisers against hand-computed values and scipy."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from gradleak.attacks.images.regularisers import clamp_, energy, median_filter, total_variation


def test_total_variation_by_hand():
    """Down |3-0|, |1-1|, |4-2|: mean 5/3. Across |1-0|, |2-1|, |1-3|, |4-1|: mean 7/4."""
    image = torch.tensor([[0.0, 1.0, 2.0], [3.0, 1.0, 4.0]])
    x = torch.stack([image, 2 * image, torch.ones(2, 3)])[:, None, None]
    torch.testing.assert_close(total_variation(x), torch.tensor([1, 2, 0]) * (5 / 3 + 7 / 4))


def test_total_variation_is_a_mean_over_images_and_channels():
    """So its factor means the same for any batch size: equal images have the variation of one image."""
    x = torch.rand(2, 1, 1, 5, 4)
    torch.testing.assert_close(total_variation(x.expand(2, 3, 2, 5, 4)), total_variation(x))
    rising = torch.arange(20.0).reshape(1, 1, 1, 4, 5)
    torch.testing.assert_close(total_variation(rising), torch.tensor([5.0 + 1.0]))


def test_energy_by_hand():
    x = torch.tensor([[1.0, 2.0], [0.0, -3.0]])[None, None, None]
    torch.testing.assert_close(energy(torch.cat([x, -x, 2 * x])), torch.tensor([14 / 8, 14 / 8, 14 / 2]))


def test_derivatives_equal_finite_differences():
    x = torch.randn(2, 2, 1, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(total_variation, x)
    assert torch.autograd.gradcheck(energy, x)


@pytest.mark.parametrize("shape", [(2, 3, 3, 8, 8), (1, 1, 1, 5, 9), (3, 1, 2, 2, 2)])
def test_median_filter_equals_scipy(shape: tuple[int, ...]):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    filtered = median_filter(x)
    assert filtered.shape == shape
    for index in np.ndindex(shape[:3]):
        expected = ndimage.median_filter(x[index].numpy(), size=3, mode="mirror")
        torch.testing.assert_close(filtered[index], torch.from_numpy(expected), rtol=0, atol=0)


def test_clamp_projects_each_channel_into_its_range():
    low, high = torch.tensor([-1.0, 0.0]).reshape(2, 1, 1), torch.tensor([1.0, 0.5]).reshape(2, 1, 1)
    x = torch.tensor([-2.0, -0.5, 0.25, 3.0]).expand(2, 4).reshape(1, 1, 2, 1, 4).repeat(3, 2, 1, 1, 1)
    given = x.requires_grad_()
    address = given.data_ptr()
    clamp_(given, low, high)
    assert given.data_ptr() == address
    expected = torch.tensor([[-1.0, -0.5, 0.25, 1.0], [0.0, 0.0, 0.25, 0.5]])
    assert torch.equal(given.detach(), expected.reshape(1, 1, 2, 1, 4).expand(3, 2, 2, 1, 4))
