"""Which options and image sizes apply to which model, without importing torch.

The plan layer checks a config with it before any job starts; :func:`gradleak.victims.models.build.build` checks with
the same functions, so a combination is accepted by both or by neither.
"""

from collections.abc import Mapping

from gradleak.errors import InputError
from gradleak.plan import catalogue
from gradleak.plan.catalogue.facts import MODEL_OPTIONS as DEFAULTS

STEMS = ("released", "imagenet")
"""ResNet stems: 3x3 stride 1 of the released iLRG code, or 7x7 stride 2 with max-pool of torchvision."""


def check_options(name: str, **options: object) -> None:
    """Check that options apply to a model.

    Args:
        name: a model name.
        options: any of :data:`DEFAULTS`; missing ones keep their defaults.

    Raises:
        InputError: unknown model, unknown option, an option that the model does not have, or a value outside
            the option's range. The message is one line.
    """
    model = catalogue.find("models", name)
    for option, value in options.items():
        if option not in DEFAULTS:
            raise InputError(f"model {name}: unknown option {option!r}; known: {', '.join(DEFAULTS)}")
        if option not in model.options and value != DEFAULTS[option]:
            takes = f"it takes {', '.join(sorted(model.options))}" if model.options else "it takes no options"
            raise InputError(f"model {name}: {option}={value!r} does not apply; keep {DEFAULTS[option]!r} ({takes})")
    # All other models have a fixed ReLU (MobileNetV2: ReLU6).
    _check_choice(name, "activation", options, model.activations if "activation" in model.options else ("relu",))
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
        InputError: the image is too small for the model, or not a multiple of what its layers need; one line.
    """
    model = catalogue.find("models", name)
    where = f"model {name}: image_size={image_size}"
    if channels < 1 or image_size < 1:
        raise InputError(f"{where}, channels={channels} is not an image; both must be at least 1")
    if image_size < model.min_image_size:
        raise InputError(
            f"{where} is too small for the model's convolutions and pooling; use at least {model.min_image_size}"
        )
    step = model.size_step
    if image_size % step:
        right = max(step, round(image_size / step) * step)
        raise InputError(f"{where} does not fit the model's pooling; use a multiple of {step}, such as {right}")


def check_pretrained(name: str, *, stem: str, channels: int) -> None:
    """Check that torchvision's ImageNet weights fit a model.

    Args:
        name: a model name.
        stem: of a ResNet; every other model has only one.
        channels: colour channels of an image.

    Raises:
        InputError: there are no weights for this model, or they do not fit its first layers; one line.
    """
    model = catalogue.find("models", name)
    if not model.pretrained:
        known = ", ".join(each for each in catalogue.names("models") if catalogue.find("models", each).pretrained)
        raise InputError(f"model {name}: no pretrained weights; use one of {known}, or --checkpoint FILE")
    if "stem" in model.options and stem != "imagenet":
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
