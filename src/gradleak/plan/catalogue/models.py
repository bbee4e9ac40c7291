"""Victims."""

from typing import Any

from gradleak.plan.catalogue.facts import ModelFacts


def _vgg(depth: int) -> ModelFacts:
    place = "gradleak.victims.models.vgg:VGG"  # it halves the image five times
    return ModelFacts(object=place, family="VGG", arguments={"depth": depth}, options=("dropout",), size_step=32)


def _resnet(depth: int) -> ModelFacts:
    place = "gradleak.victims.models.resnet:ResNet"
    return ModelFacts(object=place, family="ResNet", arguments={"depth": depth}, options=("stem",), pretrained=True)


def _small(place: str, options: tuple[str, ...], **more: Any) -> ModelFacts:
    return ModelFacts(object=place, options=options, activations=("relu", "silu", "gelu", "sigmoid"), **more)


KINDS = {
    "fcn": _small(
        "gradleak.victims.models.fcn:FCN", ("n_hidden", "n_dim", "activation"), family="FCN", spellings=("dnn",)
    ),
    "lenet5": ModelFacts(
        object="gradleak.victims.models.lenet5:LeNet5",
        options=("activation", "batchnorm"),
        activations=("relu", "silu", "leaky_relu"),
        min_image_size=16,
    ),
    "lenet": ModelFacts(
        object="gradleak.victims.models.lenet:LeNet",
        options=("activation",),
        activations=("relu", "sigmoid"),
        spellings=("lenetzhu",),
    ),
    "cnn3": _small("gradleak.victims.models.cnn:CNN3", ("activation",), min_image_size=8),
    "pooled_cnn": _small("gradleak.victims.models.cnn:PooledCNN", ("activation",), min_image_size=8),
    **{f"vgg{depth}": _vgg(depth) for depth in (11, 13, 16, 19)},
    **{f"resnet{depth}": _resnet(depth) for depth in (18, 34, 50, 101, 152)},
    "mobilenet_v2": ModelFacts(object="gradleak.victims.models.mobilenet:MobileNetV2", pretrained=True),
}
