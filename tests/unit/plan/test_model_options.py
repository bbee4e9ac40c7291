"""Options of models: faults are one line, and checks need no torch."""

import subprocess
import sys
from typing import Any

import pytest

from gradleak.errors import InputError
from gradleak.plan.catalogue import find, names
from gradleak.plan.model_options import DEFAULTS, check_images, check_options
from gradleak.victims.models.build import build


def test_some_model_has_each_option():
    assert {option for name in names("models") for option in find("models", name).options} == set(DEFAULTS)


@pytest.mark.parametrize("name", names("models"))
def test_defaults_apply_to_every_model(name: str):
    check_options(name)
    check_options(name, **DEFAULTS)
    check_images(name, channels=3, image_size=32)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("vgg61", {}, ("vgg61", "vgg16")),
        ("resnet18", {"batchnorm": True}, ("resnet18", "batchnorm=True", "does not apply", "stem")),
        ("mobilenet_v2", {"dropout": True}, ("mobilenet_v2", "dropout=True", "no options")),
        ("vgg16", {"activation": "silu"}, ("vgg16", "activation='silu'", "keep 'relu'")),
        ("lenet", {"activation": "silu"}, ("lenet", "'silu'", "relu, sigmoid")),
        ("lenet5", {"activation": "sigmoid"}, ("lenet5", "'sigmoid'", "relu, silu, leaky_relu")),
        ("fcn", {"activation": "leaky_relu"}, ("fcn", "'leaky_relu'", "relu, silu, gelu, sigmoid")),
        ("cnn3", {"activation": "tanh"}, ("cnn3", "'tanh'", "relu, silu, gelu, sigmoid")),
        ("cnn3", {"image_size": 7}, ("cnn3", "image_size=7", "at least 8")),
        ("pooled_cnn", {"image_size": 7}, ("pooled_cnn", "image_size=7", "at least 8")),
        ("pooled_cnn", {"batchnorm": True}, ("pooled_cnn", "batchnorm=True", "it takes activation")),
        ("lenet5", {"n_dim": 100}, ("lenet5", "n_dim=100", "keep 300")),
        ("fcn", {"n_hidden": -1}, ("fcn", "n_hidden=-1", "at least 0")),
        ("fcn", {"n_dim": 0}, ("fcn", "n_dim=0", "at least 1")),
        ("resnet50", {"stem": "cifar"}, ("resnet50", "stem='cifar'", "released, imagenet")),
        ("vgg16", {"image_size": 28}, ("vgg16", "image_size=28", "multiple of 32, such as 32")),
        ("lenet5", {"image_size": 15}, ("lenet5", "image_size=15", "at least 16")),
        ("fcn", {"channels": 0}, ("fcn", "channels=0", "at least 1")),
        ("fcn", {"num_classes": 0}, ("fcn", "num_classes=0", "at least 1")),
    ],
)
def test_impossible_combinations_are_refused_in_one_line(name: str, options: dict[str, Any], words: tuple[str, ...]):
    arguments = {"num_classes": 10, "channels": 3, "image_size": 32, "seed": 0, **options}
    with pytest.raises(InputError) as raised:
        build(name, **arguments)
    message = str(raised.value)
    assert "\n" not in message
    for word in words:
        assert word in message


def test_unknown_option_is_refused():
    with pytest.raises(InputError, match="unknown option 'depth'; known: activation"):
        check_options("fcn", depth=3)


def test_options_need_no_torch():
    code = "import gradleak.plan.model_options, sys; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
