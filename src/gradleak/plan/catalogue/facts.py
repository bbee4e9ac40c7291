"""What must be known of a kind without importing it, by part of the catalogue; plug-ins declare the same."""

import math
import re
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, ConfigDict, Field, field_validator, model_validator

from gradleak.plan.typed import Real, Typed, Whole

LABELS, IMAGES, EMBEDDINGS = "labels", "images", "embeddings"
"""What a view can need of an experiment besides attacks: its kind, whatever its attacks, or an attack that recovers
embeddings."""

MODEL_OPTIONS: dict[str, Any] = {
    "activation": "relu",
    "batchnorm": False,
    "dropout": False,
    "n_hidden": 1,
    "n_dim": 300,
    "stem": "released",
}
"""Every option of a model, and the value that every model accepts."""


def _known_options(value: tuple[str, ...]) -> tuple[str, ...]:
    unknown = sorted(set(value) - set(MODEL_OPTIONS))
    if unknown:
        raise ValueError(f"unknown option {unknown[0]!r}; known: {', '.join(MODEL_OPTIONS)}")
    return value


class Facts(Typed):
    """What is known of every kind.

    Attributes:
        object: what makes it. Of a built-in kind ``module:name``; of a plug-in's the name in its file, by default that
            of the kind with underscores.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    object: str = ""


Side = Literal["present_classes"]
"""What a server may know besides gradients: which classes are in the batch."""


class OptionFacts(Typed):
    """An option of a label method: a number, which the method takes by keyword.

    Attributes:
        default: its value where none is given.
        low: the smallest value; none if omitted.
        high: the largest value; none if omitted.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    default: float
    low: float | None = None
    high: float | None = None

    @model_validator(mode="after")
    def _default_fits(self) -> Self:
        if not self.allows(self.default):
            raise ValueError(f"the default {self.default:g} is not {self.range()}")
        return self

    def allows(self, value: float) -> bool:
        """Whether a value is in the range."""
        return (self.low is None or self.low <= value) and (self.high is None or value <= self.high)

    def range(self) -> str:
        """Say what values it takes."""
        low, high = self.low, self.high
        if low is not None and high is not None:
            return f"a number from {low:g} to {high:g}"
        return "a number" + (
            f" of at least {low:g}" if low is not None else f" of at most {high:g}" if high is not None else ""
        )


class MethodFacts(Facts):
    """A label-restoration method: a function of an Observation and of its options that returns a LabelGuess.

    Attributes:
        needs: names of the gradients that it reads. Where the client does not send one of them, it is not called, and
            its results are marked as not applicable.
        gives: what its guesses hold besides presence.
        images: what reconstructs images by the same name, if it does that too: ``module:name``, of built-in methods.
        sees: whether it reads the gradients of the last layer alone, or of all layers that were sent.
        side: what it must be told besides gradients.
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
        of: what it is a distance of, see :mod:`gradleak.attacks.images.objectives`: one parameter's gradients, or
            those of all parameters together.
    """

    of: Literal["parameter", "gradient"] = "parameter"


class DatasetFacts(Facts):
    """Constants of a data set, which a loader (split, root, download) reads.

    Attributes:
        num_classes: C. For ``imagenet`` the class index is the rank of the wnid.
        channels: colour channels of an image.
        image_size: height and width in pixels, after the transform.
        mean: per-channel mean of the pixels in [0, 1] that the normalisation subtracts.
        std: per-channel standard deviation that the normalisation divides by.
        sizes: images per split; empty where only the user's folder knows. That of ``all`` may be left to train and val.
        sample_of: the full data set that a packaged sample is drawn from; empty for a data set of its own.
        resizable: whether its images may be loaded at another size.
        spellings: other names of it, in lower case.
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
    """A victim: a subclass of Victim, or a function that returns one.

    Attributes:
        options: those of :data:`MODEL_OPTIONS` that it has; every other one must keep its default.
        activations: values of the option ``activation``, if it has it.
        family: name of the models that differ from it in depth alone, which is the option ``n_hidden`` or its argument
            ``depth``; empty if there are none.
        arguments: what it is called with besides classes, channels, image size and options.
        min_image_size: height and width of the smallest image that it reads.
        size_step: number that the image size must be a multiple of.
        pretrained: whether it can start from torchvision's ImageNet weights.
        spellings: other names of it, in lower case.
    """

    options: Annotated[tuple[str, ...], AfterValidator(_known_options)] = ()
    activations: tuple[str, ...] = ("relu", "silu", "gelu", "leaky_relu", "sigmoid")
    family: str = ""
    arguments: dict[str, int | float | str] = Field(default_factory=dict)
    min_image_size: int = Field(default=1, ge=1)
    size_step: int = Field(default=1, ge=1)
    pretrained: bool = False
    spellings: tuple[str, ...] = ()


class DefenseFacts(Facts):
    """A kind of defense: a function of its one strength that returns a Defense.

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
        needs: kinds of attacks that its experiments must have, :data:`LABELS`, :data:`IMAGES` or :data:`EMBEDDINGS`.
        chooses_metrics: whether its entry may say which metrics it shows.
    """

    needs: tuple[str, ...] = ()
    chooses_metrics: bool = True


class FigureFacts(TableFacts):
    """A figure, likewise.

    Attributes:
        shows_images: whether it shows the images of the runs besides their metrics.
        caption: what the paper writes below it, plain text.
    """

    shows_images: bool = False
    caption: str = ""


class MetricFacts(Facts):
    """A metric: a function of a guess and the truth, see :mod:`gradleak.metrics.named`.

    A built-in one without an object is measured by every job that can; the others are measured where an experiment
    names them.

    Attributes:
        of: what it is a metric of; plug-ins bring those of labels and images.
        low: its smallest value; none if omitted.
        high: its largest value; none if omitted.
        digits: decimals that it is written with; those that are usual where it stands if omitted.
        label: how tables call it; its name if omitted.
        unit: of its values; none if omitted.
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
            raise ValueError(f"low {low:g} is not below high {high:g}")
        return self

    @property
    def bounds(self) -> tuple[float, float]:
        """The smallest and the largest value, infinite where there is none."""
        return -math.inf if self.low is None else self.low, math.inf if self.high is None else self.high
