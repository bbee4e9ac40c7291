"""Shapes against the papers and torchvision; initial weights against their definitions."""

import math
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn

from gradleak.plan import catalogue
from gradleak.victims.models.base import Victim
from gradleak.victims.models.build import build
from gradleak.victims.models.fcn import FCN
from gradleak.victims.models.lenet5 import LeNet5
from gradleak.victims.models.resnet import ResNet

EMBEDDING = {
    "fcn": 300,
    "lenet5": 84,
    "lenet": 768,
    "cnn3": 1024,
    "pooled_cnn": 256,
    "resnet18": 512,
    "resnet34": 512,
    "mobilenet_v2": 1280,
}


def on_meta(name: str, **options: Any) -> Victim:
    """Return the victim without memory or computation: shapes only."""
    arguments = {"num_classes": 10, "channels": 3, "image_size": 32, **options}
    with torch.device("meta"):
        return catalogue.load("models", name)(**catalogue.find("models", name).arguments, **arguments).eval()


def shapes(model: nn.Module) -> list[tuple[int, ...]]:
    return [tuple(parameter.shape) for parameter in model.parameters()]


@pytest.mark.parametrize(
    ("name", "channels", "size"),
    [
        *((name, 1, 28) for name in catalogue.names("models") if not name.startswith("vgg")),
        *((name, 3, 32) for name in catalogue.names("models")),
        ("vgg11", 3, 224),
        ("lenet", 3, 64),
        *((name, 2, size) for name in ("cnn3", "pooled_cnn") for size in (8, 15, 224)),
    ],
)
def test_embedding_and_head(name: str, channels: int, size: int):
    victim = on_meta(name, channels=channels, image_size=size, num_classes=7)
    d = {("lenet", 28): 588, ("lenet", 64): 3072}.get((name, size))
    d = d or EMBEDDING.get(name, 4096 if name.startswith("vgg") else 2048)
    images = torch.empty(2, channels, size, size, device="meta")
    assert victim.features(images).shape == (2, d)
    assert victim.head.weight.shape == (7, d)
    assert victim(images).shape == (2, 7)


@pytest.mark.parametrize(
    "name", [name for name in catalogue.names("models") if name.startswith(("vgg", "resnet", "mobile"))]
)
def test_parameters_equal_torchvisions(name: str):
    options: dict[str, Any] = {"stem": "imagenet"} if name.startswith("resnet") else {}
    ours = on_meta(name, num_classes=1000, image_size=224, **options)
    with torch.device("meta"):
        theirs = torchvision.models.get_model(f"{name}_bn" if name.startswith("vgg") else name)
    assert shapes(ours) == shapes(theirs)


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "mobilenet_v2"])
def test_outputs_equal_torchvisions(name: str):
    options: dict[str, Any] = {"stem": "imagenet"} if name.startswith("resnet") else {}
    ours = build(name, num_classes=5, channels=3, image_size=64, seed=3, **options)
    theirs = torchvision.models.get_model(name, num_classes=5).eval()
    # Both register layers in the order of use.
    theirs.load_state_dict(dict(zip(theirs.state_dict(), ours.state_dict().values(), strict=True)))
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(ours(images), theirs(images))


def test_pretrained_names_fit_resnet():
    theirs = {key.replace("fc.", "head.") for key in torchvision.models.resnet18().state_dict()}
    assert set(on_meta("resnet18", stem="imagenet").state_dict()) == theirs


def test_released_stem_keeps_the_resolution():
    victim = on_meta("resnet18")
    assert isinstance(victim, ResNet)
    assert victim.conv1.weight.shape == (64, 3, 3, 3)
    assert victim.layer1(victim.maxpool(victim.conv1(torch.empty(1, 3, 32, 32, device="meta")))).shape[2] == 32


@pytest.mark.parametrize("n_hidden", [0, 1, 4])
def test_fcn_depth_and_width(n_hidden: int):
    victim = on_meta("fcn", channels=1, image_size=28, n_hidden=n_hidden, n_dim=50)
    assert isinstance(victim, FCN)
    linear = [layer for layer in victim.modules() if isinstance(layer, nn.Linear)]
    assert [layer.in_features for layer in linear] == [784, *[50] * (n_hidden + 1)]
    assert [layer.out_features for layer in linear] == [*[50] * (n_hidden + 1), 10]


@pytest.mark.parametrize("activation", ["relu", "silu", "gelu", "sigmoid"])
def test_fcn_is_a_chain_of_linear_layers(activation: str):
    """Against the same network written out; weights do not depend on the activation."""
    victim = build("fcn", num_classes=4, channels=1, image_size=8, seed=1, n_dim=20, activation=activation)
    weights = [p.detach() for p in victim.parameters()]
    reference = build("fcn", num_classes=4, channels=1, image_size=8, seed=1, n_dim=20)
    assert all(torch.equal(a, b) for a, b in zip(weights, reference.parameters(), strict=True))
    images = torch.randn(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    act = {"relu": torch.relu, "sigmoid": torch.sigmoid}.get(activation) or getattr(nn.functional, activation)
    first = act(images.flatten(1) @ weights[0].T + weights[1])
    second = act(first @ weights[2].T + weights[3])
    with torch.inference_mode():
        torch.testing.assert_close(victim.features(images), second)
        torch.testing.assert_close(victim(images), second @ weights[4].T + weights[5])


@pytest.mark.parametrize(("size", "inputs"), [(8, 128), (28, 1152), (32, 2048)])
def test_cnn3_is_three_blocks_and_three_linear_layers(size: int, inputs: int):
    """Against the same network written out with functional layers."""
    victim = build("cnn3", num_classes=5, channels=3, image_size=size, seed=1)
    weights = [p.detach() for p in victim.parameters()]
    x = images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    for i in range(3):
        x = nn.functional.max_pool2d(
            torch.relu(nn.functional.conv2d(x, weights[2 * i], weights[2 * i + 1], padding=1)), 2
        )
    x = x.flatten(1)
    assert x.shape == (2, inputs)
    for i in (3, 4):
        x = torch.relu(x @ weights[2 * i].T + weights[2 * i + 1])
        assert x.shape == (2, 1024)
    with torch.inference_mode():
        torch.testing.assert_close(victim(images), x @ weights[10].T + weights[11])
    assert len(weights) == 12


@pytest.mark.parametrize("size", [8, 28, 32])
def test_pooled_cnn_averages_four_convolutions(size: int):
    """Against the same network written out with functional layers."""
    victim = build("pooled_cnn", num_classes=5, channels=3, image_size=size, seed=1, activation="silu")
    weights = [p.detach() for p in victim.parameters()]
    x = images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    for i in range(4):
        if i:
            x = nn.functional.avg_pool2d(x, 2)
        x = nn.functional.silu(nn.functional.conv2d(x, weights[2 * i], weights[2 * i + 1], padding=1))
    with torch.inference_mode():
        torch.testing.assert_close(victim.features(images), x.mean((2, 3)))
        torch.testing.assert_close(victim(images), x.mean((2, 3)) @ weights[8].T + weights[9])
    assert len(weights) == 10


@pytest.mark.parametrize(("channels", "size", "inputs"), [(1, 28, 256), (3, 32, 400)])
def test_lenet5_layers(channels: int, size: int, inputs: int):
    victim = on_meta("lenet5", channels=channels, image_size=size, batchnorm=True, activation="leaky_relu")
    assert isinstance(victim, LeNet5)
    names = [type(layer).__name__ for layer in victim.body]
    block = ["Conv2d", "BatchNorm2d", "LeakyReLU", "MaxPool2d"]
    assert names == [*block, *block, "Flatten", "Linear", "LeakyReLU", "Linear", "LeakyReLU"]
    assert isinstance(victim.body[2], nn.LeakyReLU)
    assert victim.body[2].negative_slope == 0.01
    assert victim.body[9].in_features == inputs


def test_lenet_is_a_plain_convolution_chain():
    """Against the same network written out with functional convolutions."""
    victim = build("lenet", num_classes=4, channels=3, image_size=28, seed=1, activation="sigmoid")
    weights: list[Tensor] = [p.detach() for p in victim.parameters()]
    images = torch.randn(2, 3, 28, 28, generator=torch.Generator().manual_seed(0))
    x = images
    for i, stride in enumerate((2, 2, 1)):
        convolved = nn.functional.conv2d(x, weights[2 * i], weights[2 * i + 1], stride=stride, padding=2)
        x = torch.sigmoid(convolved)
    logits = x.flatten(1) @ weights[6].T + weights[7]
    with torch.inference_mode():
        torch.testing.assert_close(victim(images), logits)
    assert all(p.abs().max() <= 0.5 for p in weights)
    assert all(p.abs().max() > 0.4 for p in weights if p.numel() > 100)


@pytest.mark.parametrize(("channels", "size"), [(1, 28), (3, 32), (3, 64)])
def test_gradients_of_lenet_can_be_differentiated_again(channels: int, size: int):
    """The gradient matching of DLG: d/dx of |dL/dw(x) - g|^2, against central differences."""
    victim = build("lenet", num_classes=5, channels=channels, image_size=size, seed=2, activation="sigmoid").double()
    generator = torch.Generator().manual_seed(0)
    true, dummy, step = torch.rand(3, 1, channels, size, size, generator=generator, dtype=torch.float64)
    label, weights = torch.tensor([3]), tuple(victim.parameters())

    def gradients(x: Tensor) -> tuple[Tensor, ...]:
        loss = nn.functional.cross_entropy(victim(x), label)
        return torch.autograd.grad(loss, weights, create_graph=True)

    wanted = [g.detach() for g in gradients(true)]

    def mismatch(x: Tensor) -> Tensor:
        return torch.stack([(g - w).square().sum() for g, w in zip(gradients(x), wanted, strict=True)]).sum()

    (slope,) = torch.autograd.grad(mismatch(dummy.requires_grad_()), dummy)
    with_step, without = (mismatch(dummy.detach() + sign * 1e-5 * step).item() for sign in (1, -1))
    assert (slope * step).sum().item() == pytest.approx((with_step - without) / 2e-5, rel=1e-5)
    assert slope.abs().max() > 0
    assert mismatch(true).item() == 0


@pytest.mark.parametrize("name", ["lenet5", "cnn3", "pooled_cnn", "vgg11", "resnet18", "mobilenet_v2"])
def test_initial_weights(name: str):
    options: dict[str, Any] = {"batchnorm": True} if name == "lenet5" else {}
    victim = build(name, num_classes=10, channels=3, image_size=32, seed=0, **options)
    for layer in victim.modules():
        if isinstance(layer, nn.Conv2d):
            fan_out = layer.weight[0, 0].numel() * layer.out_channels
            if layer.weight.numel() > 400:  # else the sample is too small
                deviation = layer.weight.std().item() * math.sqrt(fan_out / 2)
                assert deviation == pytest.approx(1, abs=4 / math.sqrt(2 * layer.weight.numel()))
        elif isinstance(layer, nn.BatchNorm2d):
            assert (layer.weight == 1).all()
            assert (layer.bias == 0).all()
        elif isinstance(layer, nn.Linear):
            bound = 1 / math.sqrt(layer.in_features)
            assert 0.9 * bound < layer.weight.abs().max() <= bound
            assert 0 < layer.bias.abs().max() <= bound


def test_dropout_acts_in_training_only():
    options: dict[str, Any] = {"num_classes": 3, "channels": 3, "image_size": 32, "seed": 0}
    with_dropout, without = build("vgg11", dropout=True, **options), build("vgg11", **options)
    assert sum(isinstance(layer, nn.Dropout) for layer in with_dropout.modules()) == 2
    assert not any(isinstance(layer, nn.Dropout) for layer in without.modules())
    images = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.equal(with_dropout(images), without(images))
