"""Which option applies to which model: one table, readable without torch.

The plan layer checks a config with it before any job starts; :func:`gradleak.victims.models.build.build` checks with
the same functions, so a combination is accepted by both or by neither.
"""

from collections.abc import Mapping
from types import MappingProxyType

from gradleak.errors import InputError

DEFAULTS: Mapping[str, object] = MappingProxyType(
    {
        "activation": "relu",
        "batchnorm": False,
        "dropout": False,
        "n_hidden": 1,
        "n_dim": 300,
        "stem": "released",
    }
)
"""Every option and the value that every model accepts."""

_VGGS = ("vgg11", "vgg13", "vgg16", "vgg19")
_RESNETS = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")

OPTIONS: dict[str, frozenset[str]] = {
    "fcn": frozenset({"n_hidden", "n_dim", "activation"}),
    "lenet5": frozenset({"activation", "batchnorm"}),
    "lenet": frozenset({"activation"}),
    **dict.fromkeys(_VGGS, frozenset({"dropout"})),
    **dict.fromkeys(_RESNETS, frozenset({"stem"})),
    "cnn3": frozenset({"activation"}),
    "pooled_cnn": frozenset({"activation"}),
    "mobilenet_v2": frozenset(),
}
"""Model name -> the options that it has; every other option must keep its default."""

_PLAIN = ("relu", "silu", "gelu", "sigmoid")
ACTIVATIONS: dict[str, tuple[str, ...]] = {
    "fcn": _PLAIN,
    "lenet5": ("relu", "silu", "leaky_relu"),
    "lenet": ("relu", "sigmoid"),
    "cnn3": _PLAIN,
    "pooled_cnn": _PLAIN,
}
"""Model name -> its activations; every other model has ReLU (MobileNetV2 ReLU6) built in."""

SMALLEST: dict[str, int] = {"lenet5": 16, "cnn3": 8, "pooled_cnn": 8}
"""Model name -> the smallest image that it reads, where layers without padding or pooling set one."""

STEMS = ("released", "imagenet")
"""ResNet stems: 3x3 stride 1 of the released iLRG code, or 7x7 stride 2 with max-pool of torchvision."""

PRETRAINED = frozenset({*_RESNETS, "mobilenet_v2"})
"""Models that can start from torchvision's ImageNet weights."""


def check_options(name: str, **options: object) -> None:
    """Check that a model has the options asked of it.

    Args:
        name: a model name.
        options: any of :data:`DEFAULTS`; absent ones keep their default.

    Raises:
        InputError: unknown model, unknown option, an option that the model does not have, or a value outside
            the option's range. The message is one line.
    """
    if name not in OPTIONS:
        raise InputError(f"unknown model {name!r}; known: {', '.join(OPTIONS)}")
    has = OPTIONS[name]
    for option, value in options.items():
        if option not in DEFAULTS:
            raise InputError(f"model {name}: unknown option {option!r}; known: {', '.join(DEFAULTS)}")
        if option not in has and value != DEFAULTS[option]:
            takes = f"it takes {', '.join(sorted(has))}" if has else "it takes no options"
            raise InputError(f"model {name}: {option}={value!r} does not apply; keep {DEFAULTS[option]!r} ({takes})")
    _check_choice(name, "activation", options, ACTIVATIONS.get(name, ("relu",)))
    _check_choice(name, "stem", options, STEMS)
    _check_at_least(name, "n_hidden", options, 0)
    _check_at_least(name, "n_dim", options, 1)


def check_images(name: str, *, channels: int, image_size: int) -> None:
    """Check that a model can read images of this shape.

    Args:
        name: a model name that :func:`check_options` accepts.
        channels: colour channels.
        image_size: height and width in pixels.

    Raises:
        InputError: the image is too small for the model, or no multiple of what its layers need; one line.
    """
    where = f"model {name}: image_size={image_size}"
    if channels < 1 or image_size < 1:
        raise InputError(f"{where}, channels={channels} is no image; both must be at least 1")
    if image_size < SMALLEST.get(name, 1):
        raise InputError(f"{where} is too small for its convolutions and pooling; use at least {SMALLEST[name]}")
    if name in _VGGS and image_size % 32:
        right = max(32, round(image_size / 32) * 32)
        raise InputError(f"{where} cannot be halved five times; use a multiple of 32, such as {right}")


def check_pretrained(name: str, *, stem: str, channels: int) -> None:
    """Check that torchvision's ImageNet weights fit a model.

    Args:
        name: a model name.
        stem: of a ResNet; every other model has but one.
        channels: colour channels of an image.

    Raises:
        InputError: there are no weights for this model, or they are for other first layers; one line.
    """
    if name not in PRETRAINED:
        known = ", ".join(model for model in OPTIONS if model in PRETRAINED)
        raise InputError(f"model {name}: no pretrained weights; use one of {known}, or --checkpoint FILE")
    if name in _RESNETS and stem != "imagenet":
        raise InputError(f"model {name}: pretrained weights do not fit the stem {stem!r}; use --stem imagenet")
    if channels != 3:
        raise InputError(f"model {name}: pretrained weights need images of 3 channels; these have {channels}")


def _check_choice(name: str, option: str, options: Mapping[str, object], allowed: tuple[str, ...]) -> None:
    if option in options and options[option] not in allowed:
        raise InputError(f"model {name}: {option}={options[option]!r}; use one of {', '.join(allowed)}")


def _check_at_least(name: str, option: str, options: Mapping[str, object], least: int) -> None:
    value = options.get(option, DEFAULTS[option])
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InputError(f"model {name}: {option}={value!r}; use a whole number of at least {least}")
