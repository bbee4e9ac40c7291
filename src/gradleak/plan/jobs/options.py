"""Groups of options that several programs share: where a job runs, data set, batches, victim, defenses."""

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from gradleak.plan import catalogue, names, plugins
from gradleak.plan.catalogue import Kind
from gradleak.plan.distributions import DISTRIBUTIONS, check_batch
from gradleak.plan.jobs.spec import Job, Names, Spec, runtime
from gradleak.plan.model_options import DEFAULTS, check_images, check_options

Activation = Literal["relu", "silu", "gelu", "leaky_relu", "sigmoid"]
"""Values of the option; each model accepts some of them."""

TrainPrecision = Literal["float32", "bfloat16"]
"""Types in which a training runs its forward pass; weights and their updates are always float32."""

TRAIN_PRECISION = "type of the training's forward pass; bfloat16 (autocast, channels last) is for speed on a GPU"
"""Description of the option."""


class RuntimeOptions(Job):
    """Where a job runs, where its files are, and which plug-ins it loads."""

    data_root: Path = runtime(Path("data"), "folder of the data sets (--data-path is a synonym)")
    download: bool = runtime(False, "let torchvision download a missing data set")
    device: Literal["auto", "cpu", "cuda"] = runtime("auto", "auto takes a GPU when there is one")
    output: Path | None = runtime(None, "CSV file for the metrics; a JSON record is written beside it")
    progress: bool = runtime(True, "show a progress bar on standard error")
    modules: Names = Field(
        default=(),
        description="plug-ins, comma-separated .py files, whose kinds other options may name (docs/extending.md)",
    )

    @field_validator("modules")
    @classmethod
    def _entered(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for path in value:
            plugins.plugin_at(path)
        return value

    def with_modules(self) -> Self:
        """Return the job with exactly the plug-ins that provide its kinds."""
        modules = plugins.used(self.kinds())
        return self if modules == self.modules else self.model_copy(update={"modules": modules})

    def identity(self) -> dict[str, Any]:
        """See :class:`gradleak.plan.jobs.spec.Job`; a plug-in counts by its code, not by its path."""
        identity = super().identity()
        if self.modules:
            identity["modules"] = plugins.digests(self.modules)
        return identity


class DatasetOptions(Spec):
    """Which data set."""

    dataset: str = Field(default="cifar100", description=f"data set: {', '.join(catalogue.names('datasets'))}")

    @field_validator("dataset", mode="before")
    @classmethod
    def _spell_dataset(cls, value: str) -> str:
        name = catalogue.spelt("datasets", value)
        catalogue.find("datasets", name)
        return name

    def kinds(self) -> list[Kind]:
        """See :class:`gradleak.plan.jobs.spec.Spec`."""
        return [*super().kinds(), ("datasets", self.dataset)]


class TrainSplitOptions(DatasetOptions):
    """How much of the train split is used, to train the victim and for clients to draw from."""

    train_images: int | None = Field(
        default=None,
        ge=1,
        description="number of images of the train split to train on and for clients to draw from (default: all)",
    )

    @model_validator(mode="after")
    def _split_is_large_enough(self) -> Self:
        size = catalogue.find("datasets", self.dataset).sizes.get("train")
        if size is not None and self.train_images is not None and self.train_images > size:
            raise ValueError(
                f"train_images {self.train_images} is more than the {size} images of {self.dataset} (train)"
            )
        return self


class BatchOptions(TrainSplitOptions):
    """The clients' batches, which depend on these fields alone."""

    split: Literal["train", "val", "all"] = Field(default="train", description="split of the data set")
    num_classes: int | None = Field(default=None, ge=2, description="number of classes; must match the data set")
    batch_size: int = Field(default=24, ge=1, description="batch size B")
    distribution: str = Field(default="random", description=f"classes of a batch: {', '.join(DISTRIBUTIONS)}")
    num_uniform_cls: int | None = Field(default=None, ge=1, description="classes of a balanced batch (default: 32)")
    num_target_cls: int | None = Field(
        default=None,
        ge=1,
        description="classes of a random2 or sim batch (default: 5)",
    )
    num_tries: int = Field(default=50, ge=1, description="batches, each attacked once")
    seed: int = Field(default=12, ge=0, description="seed of the random streams")

    @field_validator("distribution")
    @classmethod
    def _known_distribution(cls, value: str) -> str:
        if value not in DISTRIBUTIONS:
            raise ValueError(f"unknown distribution {value!r}; known: {', '.join(DISTRIBUTIONS)}")
        return value

    @model_validator(mode="before")
    @classmethod
    def _class_numbers(cls, values: dict[str, Any]) -> dict[str, Any]:
        values = dict(values)
        distribution = values.get("distribution", "random")
        for option, default, users in (
            ("num_uniform_cls", 32, {"balanced"}),
            ("num_target_cls", 5, {"random2", "sim"}),
        ):
            if distribution in users:
                values[option] = default if values.get(option) is None else values[option]
            elif values.get(option) is not None:
                raise ValueError(f"{option} applies to --distribution {' or '.join(sorted(users))} only")
        return values

    @model_validator(mode="after")
    def _fits(self) -> Self:
        known = catalogue.find("datasets", self.dataset)
        if self.dataset != "imagenet" and self.num_classes not in (None, known.num_classes):
            raise ValueError(
                f"num_classes {self.num_classes} does not match {self.dataset}, which has {known.num_classes}"
            )
        size = known.sizes.get(self.split)
        if self.split == "train" and self.train_images is not None:
            size = self.train_images
        if size is not None and self.batch_size > size and self.distribution != "sim":
            raise ValueError(
                f"batch_size {self.batch_size} is more than the {size} images of {self.dataset} ({self.split})"
            )
        check_batch(
            self.distribution,
            self.batch_size,
            self.num_classes or known.num_classes,
            num_uniform_cls=self.num_uniform_cls or 0,
            num_target_cls=self.num_target_cls or 0,
        )
        return self

    @property
    def distribution_id(self) -> str:
        """The distribution with its parameter, e.g. ``balanced-32``."""
        return names.distribution_name(self.distribution, self.distribution_classes)

    @property
    def distribution_classes(self) -> int:
        """Number of classes of the distribution, 0 if it has none."""
        return self.num_uniform_cls or self.num_target_cls or 0


class VictimOptions(Spec):
    """The model that the server sent to the client."""

    model: str = Field(default="lenet5", description=f"architecture: {', '.join(catalogue.names('models'))}")
    n_hidden: int = Field(default=1, ge=0, le=16, description="hidden layers of the FCN after the first")
    n_dim: int = Field(default=300, ge=1, description="width of the FCN")
    activation: Activation = Field(
        default="relu", description="activation of the FCN, LeNet-5, LeNet and the small CNNs"
    )
    batchnorm: bool = Field(default=False, description="BatchNorm after each convolution of LeNet-5")
    dropout: bool = Field(default=False, description="dropout 0.5 in the classifier of VGG (off while observing)")
    stem: Literal["released", "imagenet"] = Field(default="released", description="first layers of a ResNet")
    model_seed: int | None = Field(default=None, ge=0, description="seed of the victim's weights (default: --seed)")

    @field_validator("model", mode="before")
    @classmethod
    def _spell_model(cls, value: str) -> str:
        name = catalogue.spelt("models", value)
        catalogue.find("models", name)
        return name

    @model_validator(mode="after")
    def _options_apply(self) -> Self:
        check_options(self.model, **self.model_options())
        return self

    def kinds(self) -> list[Kind]:
        """See :class:`gradleak.plan.jobs.spec.Spec`."""
        return [*super().kinds(), ("models", self.model)]

    def model_options(self) -> dict[str, Any]:
        """Return the architecture options that differ from their defaults."""
        return {name: getattr(self, name) for name in DEFAULTS if getattr(self, name) != DEFAULTS[name]}

    @property
    def model_id(self) -> str:
        """The architecture with its options, e.g. ``fcn-n_hidden=3`` or ``lenet5-silu``."""
        return names.model_name(self.model, self.model_options())


def check_model(dataset: str, model: str, image_size: int | None = None) -> None:
    """Refuse images that a model cannot read; ``image_size`` overrides that of a resizable data set."""
    known = catalogue.dataset_facts(dataset, image_size)
    check_images(model, channels=known.channels, image_size=known.image_size)


def defense_name(kind: str, strength: float) -> str:
    """Return ``kind-strength``, e.g. ``dp-0.01``, with the shortest text that reads back as exactly the strength.

    It contains no ``+``, which joins the names of composed defenses.

    Raises:
        ValueError: an unknown kind, or a strength outside its range.
    """
    high = catalogue.find("defenses", kind).high
    text = names.shortest(strength)
    if not 0 < strength <= high:
        what = f"the strength must be a number above 0 and at most {names.shortest(high)}"
        raise ValueError(f"defense '{kind}-{text}': {what}")
    return f"{kind}-{text}"


def defense_parts(name: str) -> tuple[str, float]:
    """Return kind and strength of a defense that is written ``kind-strength``, in any spelling of the number.

    Raises:
        ValueError: an unknown kind, or a strength that is not a number; :func:`defense_name` checks its range.
    """
    kind, _, text = name.partition("-")
    if kind not in catalogue.names("defenses"):
        usable = ", ".join(f"{known}-STRENGTH" for known in catalogue.names("defenses"))
        raise ValueError(f"unknown defense {name!r}; use {usable}")
    try:
        return kind, float(text)
    except ValueError:
        high = catalogue.find("defenses", kind).high
        what = f"the strength must be a number above 0 and at most {names.shortest(high)}"
        raise ValueError(f"defense {name!r}: {what}") from None


def canonical_defense(name: str) -> str:
    """Return the one spelling of a defense, e.g. ``dp-1e-2`` -> ``dp-0.01``.

    Raises:
        ValueError: see :func:`defense_parts` and :func:`defense_name`.
    """
    return defense_name(*defense_parts(name))


class DefenseOptions(Spec):
    """What the client does to its gradient before sending it, and how it sends it."""

    defenses: Names = Field(
        default=(),
        description="in order, comma-separated: dp-STD, clip-BOUND, sparse-PERCENT, perturb-PERCENT",
    )
    defense_scope: Literal["head", "all"] = Field(
        default="head",
        description="head: defend the last layer's gradients; all: those of all parameters together",
    )
    precision: Literal["float32", "float16", "bfloat16"] = Field(
        default="float32", description="type that gradients are rounded to when they are sent"
    )

    @field_validator("defenses")
    @classmethod
    def _known_defenses(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(canonical_defense(name) for name in value)

    def kinds(self) -> list[Kind]:
        """See :class:`gradleak.plan.jobs.spec.Spec`."""
        return [*super().kinds(), *(("defenses", defense_parts(name)[0]) for name in self.defenses)]

    @property
    def defense_id(self) -> str:
        """Part of run ids: the defenses in order, and their scope unless it is the last layer."""
        scope = "@all" if self.defenses and self.defense_scope == "all" else ""
        return names.composition(self.defenses) + scope
