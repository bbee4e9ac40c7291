"""LPIPS with random weights against its definition.

With the same weights, the package lpips 0.1.4 gives the same distances to 1e-5.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from gradleak.errors import InputError
from gradleak.metrics.lpips import Lpips, load_lpips
from gradleak.plan.lpips_files import FILES, SMALLEST_SIDE

CHANNELS = (64, 192, 384, 256, 256)


def random_weights() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = {0: (64, 3, 11, 11), 3: (192, 64, 5, 5), 6: (384, 192, 3, 3), 8: (256, 384, 3, 3), 10: (256, 256, 3, 3)}
    tensors = {}
    for layer, shape in shapes.items():
        scale = (shape[1] * shape[2] * shape[3]) ** -0.5
        tensors[f"features.{layer}.weight"] = scale * torch.randn(shape, generator=generator)
        tensors[f"features.{layer}.bias"] = 0.1 * torch.randn(shape[0], generator=generator)
    for k, c in enumerate(CHANNELS):
        tensors[f"lin{k}.model.1.weight"] = torch.rand(1, c, 1, 1, generator=generator)
    return tensors


@pytest.fixture(scope="module")
def weights() -> dict[str, Tensor]:
    return random_weights()


def images(n: int, channels: int, side: int, seed: int = 0) -> Tensor:
    return torch.rand(n, channels, side, side, generator=torch.Generator().manual_seed(seed))


def literal(weights: dict[str, Tensor], x: Tensor, y: Tensor) -> float:
    """Return the distance of two images [3, h, w], layer by layer in float64."""

    def taps(image: Tensor) -> list[np.ndarray]:
        shift, scale = torch.tensor([-0.030, -0.088, -0.188]), torch.tensor([0.458, 0.448, 0.450])
        a = ((image * 2 - 1 - shift[:, None, None]) / scale[:, None, None])[None].double()
        found = []
        for layer, stride, padding in ((0, 4, 2), (3, 1, 2), (6, 1, 1), (8, 1, 1), (10, 1, 1)):
            if layer in (3, 6):
                a = nn.functional.max_pool2d(a, 3, 2)
            w, b = (weights[f"features.{layer}.{kind}"].double() for kind in ("weight", "bias"))
            a = torch.relu(nn.functional.conv2d(a, w, b, stride=stride, padding=padding))
            found.append(a[0].numpy())
        return found

    total = 0.0
    for k, (a, b) in enumerate(zip(taps(x), taps(y), strict=True)):
        a, b = (tap / (np.sqrt((tap**2).sum(0)) + 1e-10) for tap in (a, b))
        head = weights[f"lin{k}.model.1.weight"].double().numpy().reshape(-1, 1, 1)
        total += float((head * (a - b) ** 2).sum(0).mean())
    return total


@pytest.mark.parametrize("side", [SMALLEST_SIDE, 32, 64])
def test_against_the_definition(side: int, weights: dict[str, Tensor]):
    x, y = images(3, 3, side), images(3, 3, side, seed=1)
    found = Lpips(weights, Path("made up"))(x, y)
    assert found.dtype == torch.float64
    assert found.tolist() == pytest.approx([literal(weights, a, b) for a, b in zip(x, y, strict=True)], rel=1e-5)


def test_equal_images_have_distance_zero_and_guesses_are_clamped(weights: dict[str, Tensor]):
    net = Lpips(weights, Path("made up"))
    x = images(2, 3, 32).round()
    assert net(x, x.clone()).tolist() == [0, 0]
    assert net(x, 3 * x - 1).tolist() == [0, 0]


def test_grey_images_are_compared_as_rgb(weights: dict[str, Tensor]):
    net = Lpips(weights, Path("made up"))
    x, y = images(2, 1, 32), images(2, 1, 32, seed=1)
    assert torch.equal(net(x, y), net(x.repeat(1, 3, 1, 1), y.repeat(1, 3, 1, 1)))


def test_loading_draws_no_random_numbers(weights: dict[str, Tensor]):
    before = torch.get_rng_state()
    net = Lpips(weights, Path("made up"))
    assert torch.equal(torch.get_rng_state(), before)
    assert not any(parameter.requires_grad for parameter in net.parameters())


@pytest.mark.parametrize("side", [SMALLEST_SIDE - 1, 28])
def test_small_images_are_refused(side: int, weights: dict[str, Tensor]):
    with pytest.raises(
        InputError, match=f"^LPIPS of images of {side}x{side} pixels: AlexNet needs at least 31 per side"
    ):
        Lpips(weights, Path("made up"))(images(1, 3, side), images(1, 3, side))


@pytest.mark.parametrize("shapes", [((1, 3, 32, 32), (2, 3, 32, 32)), ((1, 2, 32, 32), (1, 2, 32, 32))])
def test_other_shapes_are_refused(shapes, weights: dict[str, Tensor]):
    with pytest.raises(ValueError, match=r"both must be \[n, 1 or 3, h, w\]"):
        Lpips(weights, Path("made up"))(*(torch.zeros(shape) for shape in shapes))


def test_published_files_or_one_file(tmp_path: Path, weights: dict[str, Tensor]):
    folder = tmp_path / "folder"
    folder.mkdir()
    alexnet = {name: tensor for name, tensor in weights.items() if name.startswith("features.")}
    torch.save({**alexnet, "classifier.1.weight": torch.zeros(4, 4)}, folder / FILES[0])
    torch.save({name: tensor for name, tensor in weights.items() if name.startswith("lin")}, folder / FILES[1])
    save_file(weights, tmp_path / "lpips.safetensors")
    x, y = images(1, 3, 32), images(1, 3, 32, seed=1)
    expected = Lpips(weights, Path("made up"))(x, y)
    for path in (folder, tmp_path / "lpips.safetensors"):
        assert torch.equal(load_lpips(path)(x, y), expected)


def test_faults_are_one_line(tmp_path: Path, weights: dict[str, Tensor]):
    remedy = "; give a folder with torchvision's alexnet-owt-7be5be79.pth and the LPIPS release's alex.pth, or one "
    with pytest.raises(InputError) as caught:
        load_lpips(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path}/{FILES[0]}: no such file with LPIPS weights{remedy}")
    path = tmp_path / "lpips.safetensors"
    save_file({name: tensor for name, tensor in weights.items() if name != "lin3.model.1.weight"}, path)
    with pytest.raises(InputError) as caught:
        load_lpips(path)
    assert str(caught.value).startswith(
        f"{path}: has no lin3.model.1.weight, which LPIPS v0.1 on AlexNet needs{remedy}"
    )
    save_file({**weights, "lin1.model.1.weight": torch.zeros(1, 128, 1, 1)}, path)
    with pytest.raises(InputError) as caught:
        load_lpips(path)
    assert "lin1.model.1.weight has shape [1, 128, 1, 1], LPIPS on AlexNet needs [1, 192, 1, 1]" in str(caught.value)
    save_file({name: tensor.to(torch.int8) for name, tensor in weights.items()}, path)
    with pytest.raises(InputError, match=r"features\.0\.weight holds int8, not floating-point numbers"):
        load_lpips(path)
