"""What the plan must know about a kind without importing it, by part of the catalogue; plug-ins declare the same."""

import math
import re
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, ConfigDict, Field, field_validator, model_validator

from gradleak.plan.names import shortest
from gradleak.plan.typed import Real, Typed, Whole

LABELS, IMAGES, EMBEDDINGS = "labels", "images", "embeddings"
"""What a view can require of an experiment besides particular attacks: a kind of experiment, or any attack that
recovers embeddings."""

MODEL_OPTIONS: dict[str, Any] = {
    "activation": "relu",
    "batchnorm": False,
    "dropout": False,
    "n_hidden": 1,
    "n_dim": 300,
    "stem": "released",
}
"""Every option of models, and the default that every model accepts."""


def _known_options(value: tuple[str, ...]) -> tuple[str, ...]:
    unknown = sorted(set(value) - set(MODEL_OPTIONS))
    if unknown:
        raise ValueError(f"unknown option {unknown[0]!r}; known: {', '.join(MODEL_OPTIONS)}")
    return value


class Facts(Typed):
    """Facts that every kind has.

    Attributes:
        object: what implements it. For a built-in kind ``module:name``; for a plug-in's the name in its file, by
            default the name of the kind with underscores.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    object: str = ""


Side = Literal["present_classes"]
"""What a server may know besides gradients: which classes are in the batch."""


class OptionFacts(Typed):
    """An option of a label method: a number, passed by keyword.

    Attributes:
        default: its value if none is given.
        low: the smallest value; unbounded if omitted.
        high: the largest value; unbounded if omitted.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    default: float
    low: float | None = None
    high: float | None = None

    @model_validator(mode="after")
    def _default_fits(self) -> Self:
        if not self.allows(self.default):
            raise ValueError(f"the default {shortest(self.default)} is not {self.range()}")
        return self

    def allows(self, value: float) -> bool:
        """Whether a value is in the range."""
        return (self.low is None or self.low <= value) and (self.high is None or value <= self.high)

    def range(self) -> str:
        """Describe the range in words."""
        low, high = (None if end is None else shortest(end) for end in (self.low, self.high))
        if low is not None and high is not None:
            return f"a number from {low} to {high}"
        return "a number" + (
            f" of at least {low}" if low is not None else f" of at most {high}" if high is not None else ""
        )


class MethodFacts(Facts):
    """A label-restoration method: a function of an Observation and of its options that returns a LabelGuess.

    Attributes:
        needs: names of the gradients that it reads. If the client does not send one of them, the method is not called,
            and its results are marked as not applicable.
        gives: fields of its guesses besides presence.
        images: ``module:name`` of the image attack of the same name, if a built-in method has one.
        sees: whether it reads only the gradients of the last layer, or those of all layers that were sent.
        side: the side knowledge that it needs.
        options: its options by name.
    """

    needs: tuple[str, ...] = ("head.weight", "head.bias")
    gives: tuple[Literal["counts", "embeddings", "probabilities", "certified"], ...] = ("counts",)
    images: str = ""
    sees: Literal["head", "all"] = "head"
    side: tuple[Side, ...] = ()
    options: dict[str, OptionFacts] = Field(default_factory=dict)

    @field_validator("options")
    @classmethod
    def _are_keys(cls, value: dict[str, OptionFacts]) -> dict[str, OptionFacts]:
        for name in value:
            if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
                raise ValueError(f"{name!r}: the name of an option must be a valid configuration key, such as alpha")
        return value


class ObjectiveFacts(Facts):
    """An objective of image attacks.

    Attributes:
        of: whether it compares the gradients of one parameter or of all parameters together, see
            :mod:`gradleak.attacks.images.objectives`.
    """

    of: Literal["parameter", "gradient"] = "parameter"


class DatasetFacts(Facts):
    """Constants of a data set, which a loader (split, root, download) reads.

    Attributes:
        num_classes: C. For ``imagenet`` the class index is the rank of the wnid.
        channels: colour channels of an image.
        image_size: height and width in pixels, after the transform.
        mean: per-channel mean of the pixels in [0, 1], which normalisation subtracts.
        std: per-channel standard deviation, by which normalisation divides.
        sizes: images per split; empty if that depends on the user's folder. ``all`` defaults to the sum of train and
            val.
        sample_of: the full data set that a packaged sample is drawn from; empty for a full data set.
        resizable: whether its images can be loaded at another size.
        spellings: its other names, in lower case.
    """

    num_classes: int = Field(ge=2)
    channels: int = Field(ge=1)
    image_size: int = Field(ge=1)
    mean: tuple[Real, ...]
    std: tuple[Real, ...]
    sizes: dict[Literal["train", "val", "all"], Whole] = Field(default_factory=dict)
    sample_of: str = ""
    resizable: bool = False
    spellings: tuple[str, ...] = ()

    @field_validator("sizes")
    @classmethod
    def _with_all(cls, value: dict[Any, int]) -> dict[Any, int]:
        if {"train", "val"} <= set(value):
            return {"all": value["train"] + value["val"], **value}
        return value

    @model_validator(mode="after")
    def _one_constant_per_channel(self) -> Self:
        if not len(self.mean) == len(self.std) == self.channels or min(self.std) <= 0:
            raise ValueError(
                f"mean and std need {self.channels} numbers each, one per channel, and std must be above 0"
            )
        if not all(0 <= value <= 1 for value in (*self.mean, *self.std)):
            raise ValueError("mean and std must be those of pixels from 0 (black) to 1 (white); divide yours by 255")
        return self


class ModelFacts(Facts):
    """A victim: a subclass of Victim or any other module that returns logits, or a function that returns one.

    Attributes:
        options: the :data:`MODEL_OPTIONS` that it has; all others must keep their defaults.
        activations: the values of the option ``activation``, if it has that option.
        family: name for the models that differ from it only in depth, which is the option ``n_hidden`` or the argument
            ``depth``; empty if there are none.
        arguments: further keyword arguments besides classes, channels, image size and options.
        min_image_size: height and width of the smallest image that it accepts.
        size_step: the image size must be a multiple of this.
        pretrained: whether it can start from torchvision's ImageNet weights.
        spellings: its other names, in lower case.
    """

    options: Annotated[tuple[str, ...], AfterValidator(_known_options)] = ()
    activations: tuple[str, ...] = ("relu", "silu", "gelu", "leaky_relu", "sigmoid")
    family: str = ""
    arguments: dict[str, bool | int | float | str] = Field(default_factory=dict)
    min_image_size: int = Field(default=1, ge=1)
    size_step: int = Field(default=1, ge=1)
    pretrained: bool = False
    spellings: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _family_has_a_depth(self) -> Self:
        if self.family and "n_hidden" not in self.options and type(self.arguments.get("depth")) is not int:
            raise ValueError(f"family {self.family!r} needs the option n_hidden or a whole number as argument depth")
        return self


class DefenseFacts(Facts):
    """A kind of defense: a function of one strength that returns a Defense.

    Attributes:
        strength: documented name of the strength.
        high: largest strength; it must be above 0.
    """

    strength: str
    high: float = Field(gt=0)

    @field_validator("strength")
    @classmethod
    def _is_a_key(cls, value: str) -> str:
        if not re.fullmatch(r"[a-z][a-z0-9_]*", value) or value in ("kind", "label", "module"):
            raise ValueError("the name of the strength must be a valid configuration key, such as noise_std")
        return value


class TableFacts(Facts):
    """A table: a function of a Request.

    Attributes:
        needs: what its experiments must have: kinds of attacks, :data:`LABELS`, :data:`IMAGES` or :data:`EMBEDDINGS`.
        chooses_metrics: whether an entry of the configuration may choose its metrics.
    """

    needs: tuple[str, ...] = ()
    chooses_metrics: bool = True


class FigureFacts(TableFacts):
    """A figure: a function of a Request.

    Attributes:
        shows_images: whether it shows the images of the runs besides their metrics.
        caption: its caption in the paper, plain text.
    """

    shows_images: bool = False
    caption: str = ""


class MetricFacts(Facts):
    """A metric: a function of a guess and the truth, see :mod:`gradleak.metrics.named`.

    A built-in one without an object is measured by every job that can measure it; the others are measured where an
    experiment names them.

    Attributes:
        of: what it measures; plug-ins may declare metrics of labels and images.
        low: its smallest value; unbounded if omitted.
        high: its largest value; unbounded if omitted.
        digits: decimals to print; the default of the table or figure if omitted.
        label: its name in tables; by default its name here.
        unit: unit of its values; none if omitted.
    """

    of: Literal["labels", "images", "victims", "jobs"]
    low: float | None = None
    high: float | None = None
    digits: int | None = Field(default=None, ge=0, le=9)
    label: str = ""
    unit: str = ""

    @model_validator(mode="after")
    def _has_a_range(self) -> Self:
        low, high = self.bounds
        if not low < high:
            raise ValueError(f"low {shortest(low)} is not below high {shortest(high)}")
        return self

    @property
    def bounds(self) -> tuple[float, float]:
        """The smallest and the largest value, infinite where there is no bound."""
        return -math.inf if self.low is None else self.low, math.inf if self.high is None else self.high
