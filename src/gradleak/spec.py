"""One frozen type per kind of job: config entry, command line, sidecar and documentation at once.

A field with ``identity=False`` says where or how a job runs, never what it computes; it is left out of the run id.
The id hashes only what differs from the defaults, so a new option does not rename the runs that do not use it.
Raise a kind's ``VERSION`` when its code changes what an equal spec computes.
"""

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from gradleak import facts
from gradleak.models.options import DEFAULTS, OPTIONS, check_images, check_options


def _split_commas(value: object) -> object:
    return tuple(part for part in value.split(",") if part) if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], BeforeValidator(_split_commas)]
"""Several names: a comma-separated text on the command line, a list in YAML."""


def runtime(default: Any, description: str, **kwargs: Any) -> Any:
    """Declare a field that cannot change a result: it is no part of the run id."""
    return Field(default, description=description, json_schema_extra={"identity": False}, **kwargs)


class Spec(BaseModel):
    """Base of all job specs."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=False)

    KIND: ClassVar[str]
    VERSION: ClassVar[int] = 1

    @classmethod
    def is_identity(cls, name: str) -> bool:
        """Whether the field can change a result."""
        extra = cls.model_fields[name].json_schema_extra
        return not (isinstance(extra, dict) and extra.get("identity") is False)

    def identity(self) -> dict[str, Any]:
        """Return what the run id hashes: the kind, its version and every value that is not the default."""
        values = self.model_dump(mode="json")
        changed = {
            name: values[name]
            for name, field in type(self).model_fields.items()
            if self.is_identity(name) and (field.is_required() or getattr(self, name) != field.default)
        }
        return {"kind": self.KIND, "version": self.VERSION, **changed}

    @property
    def digest(self) -> str:
        """Eight hex digits that name this spec."""
        text = json.dumps(self.identity(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:8]

    def to_argv(self, *, identity_only: bool = False) -> list[str]:
        """Return the command-line options that rebuild this spec, without those at their defaults.

        Args:
            identity_only: leave out what only says where and how the job runs.
        """
        argv: list[str] = []
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            if identity_only and not self.is_identity(name):
                continue
            if not field.is_required() and value == field.default:
                continue
            flag = "--" + name.replace("_", "-")
            if isinstance(value, bool):
                argv.append(flag if value else f"--no-{flag[2:]}")
            else:
                argv += [flag, ",".join(map(str, value)) if isinstance(value, tuple) else str(value)]
        return argv


class RuntimeOptions(Spec):
    """Where a job runs and where its files are."""

    data_root: Path = runtime(Path("data"), "folder of the data sets (--data-path is a synonym)")
    download: bool = runtime(False, "let torchvision fetch a missing data set")
    device: Literal["auto", "cpu", "cuda"] = runtime("auto", "auto takes a GPU when there is one")
    output: Path | None = runtime(None, "CSV file for the metrics; the sidecar run.json is written beside it")
    progress: bool = runtime(True, "show a progress bar on standard error")


class BatchOptions(Spec):
    """Which images a client holds. Batches depend on these fields alone."""

    dataset: str = Field("cifar100", description=f"data set: {', '.join(facts.DATASETS)}")
    split: Literal["train", "val", "all"] = Field("train", description="part of the data set")
    num_classes: int | None = Field(None, ge=2, description="number of classes; must be that of the data set")
    num_images: int = Field(24, ge=1, description="batch size B")
    distribution: str = Field("random", description=f"classes of a batch: {', '.join(facts.DISTRIBUTIONS)}")
    num_uniform_cls: int | None = Field(None, ge=1, description="classes of a balanced batch (default 32)")
    num_target_cls: int | None = Field(None, ge=1, description="classes of a random2 or sim batch (default 5)")
    num_tries: int = Field(50, ge=1, description="batches, each attacked once")
    seed: int = Field(12, ge=0, description="seed of every random stream")

    @field_validator("dataset", mode="before")
    @classmethod
    def _spell_dataset(cls, value: str) -> str:
        name = str(value).lower()
        name = facts.DATASET_SPELLINGS.get(name, name)
        facts.dataset_facts(name)
        return name

    @field_validator("distribution")
    @classmethod
    def _known_distribution(cls, value: str) -> str:
        if value not in facts.DISTRIBUTIONS:
            raise ValueError(f"unknown distribution {value!r}; known: {', '.join(facts.DISTRIBUTIONS)}")
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
                values.setdefault(option, default)
            elif values.get(option) is not None:
                raise ValueError(f"{option} applies to distribution {' or '.join(sorted(users))} only")
        return values

    @model_validator(mode="after")
    def _fits(self) -> Self:
        known = facts.DATASETS[self.dataset]
        if self.dataset != "imagenet" and self.num_classes not in (None, known.num_classes):
            raise ValueError(
                f"num_classes {self.num_classes} is not that of {self.dataset}, which has {known.num_classes}"
            )
        size = known.sizes.get(self.split)
        if size is not None and self.num_images > size and self.distribution != "sim":
            raise ValueError(
                f"num_images {self.num_images} is more than the {size} images of {self.dataset} ({self.split})"
            )
        return self

    @property
    def distribution_id(self) -> str:
        """The distribution with its parameter, e.g. ``balanced-32``."""
        number = self.num_uniform_cls or self.num_target_cls
        return f"{self.distribution}-{number}" if number else self.distribution


class VictimOptions(Spec):
    """The model that the server sent to the client."""

    model: str = Field("lenet5", description=f"architecture: {', '.join(OPTIONS)}")
    n_hidden: int = Field(1, ge=0, le=16, description="hidden layers of the FCN after the first")
    n_dim: int = Field(300, ge=1, description="width of the FCN")
    activation: Literal["relu", "silu", "leaky_relu", "sigmoid"] = Field("relu", description="of LeNet-5 and LeNet")
    batchnorm: bool = Field(False, description="BatchNorm after each convolution of LeNet-5")
    dropout: bool = Field(False, description="dropout 0.5 in the classifier of VGG (off while observing)")
    stem: Literal["released", "imagenet"] = Field("released", description="first layers of a ResNet")
    model_seed: int | None = Field(None, ge=0, description="seed of the victim's weights (default: --seed)")

    @field_validator("model", mode="before")
    @classmethod
    def _spell_model(cls, value: str) -> str:
        name = str(value).lower()
        name = facts.MODEL_SPELLINGS.get(name, name)
        if name not in OPTIONS:
            raise ValueError(f"unknown model {name!r}; known: {', '.join(OPTIONS)}")
        return name

    @model_validator(mode="after")
    def _options_apply(self) -> Self:
        check_options(self.model, **self.model_options())
        return self

    def model_options(self) -> dict[str, Any]:
        """Return the architecture options that differ from their defaults."""
        return {name: getattr(self, name) for name in DEFAULTS if getattr(self, name) != DEFAULTS[name]}

    @property
    def model_id(self) -> str:
        """The architecture with its options, e.g. ``fcn-n_hidden=3`` or ``lenet5-silu``."""
        parts = [self.model]
        for name, value in self.model_options().items():
            parts.append(name if value is True else f"{name}={value}" if isinstance(value, int) else str(value))
        return "-".join(parts)


class RestoreLabels(RuntimeOptions, BatchOptions, VictimOptions):
    """Label restoration: observe the head gradient of each batch and count its labels."""

    KIND: ClassVar[str] = "labels"

    methods: Names = Field(("ilrg",), description=f"comma-separated: {', '.join(facts.LABEL_METHODS)}")
    alpha: float = Field(1.0, gt=0, description="factor on iLRG's recovered logits before the softmax")
    chunk_size: int | None = runtime(None, "images per forward pass (default: by image size)", ge=1)
    exp_name: str = runtime("labels", "folder under outputs/ for the metrics when --output is not given")

    @field_validator("methods")
    @classmethod
    def _known_methods(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [name for name in value if name not in facts.LABEL_METHODS]
        if unknown or not value:
            what = f"unknown method {unknown[0]!r}" if unknown else "no method given"
            raise ValueError(f"{what}; known: {', '.join(facts.LABEL_METHODS)}")
        return tuple(dict.fromkeys(value))

    @model_validator(mode="after")
    def _model_reads_images(self) -> Self:
        known = facts.DATASETS[self.dataset]
        check_images(self.model, channels=known.channels, image_size=known.image_size)
        return self

    @property
    def run_id(self) -> str:
        """Readable path plus the digest: the run's folder under results/runs."""
        batch = f"{self.distribution_id}-B{self.num_images}-seed{self.victim_seed}"
        return f"{self.KIND}/{self.dataset}/{self.model_id}/{batch}-{self.digest}"

    @property
    def victim_seed(self) -> int:
        """Seed of the victim's weights."""
        return self.seed if self.model_seed is None else self.model_seed


class RestoreLabelsShorthand(BaseModel):
    """Documented spellings that expand into the options of :class:`RestoreLabels`."""

    model_config = ConfigDict(extra="forbid")

    data_path: Path | None = Field(None, description="synonym of --data-root")
    compare: bool = Field(False, description="add the prior works: idlg, gi, rlg")
    simplified: bool = Field(False, description="iLRG given the classes that are present")
    estimate: bool = Field(False, description="iLRG with 1/C in place of the recovered probabilities")
    silu: bool = Field(False, description="same as --activation silu")
    leaky_relu: bool = Field(False, description="same as --activation leaky_relu")
    cpu: bool = Field(False, description="same as --device cpu")

    def expand(self, options: dict[str, Any]) -> dict[str, Any]:
        """Return ``options`` with the shorthands replaced by what they stand for.

        Raises:
            ValueError: two of the given options contradict each other.
        """
        options = dict(options)

        def put(name: str, value: Any, flag: str) -> None:
            if name in options:
                raise ValueError(f"{flag} and --{name.replace('_', '-')} exclude each other")
            options[name] = value

        if self.data_path is not None:
            put("data_root", self.data_path, "--data-path")
        if self.cpu:
            put("device", "cpu", "--cpu")
        if self.silu:
            put("activation", "silu", "--silu")
        if self.leaky_relu:
            put("activation", "leaky_relu", "--leaky-relu")
        methods = list(_split_commas(options.get("methods", "ilrg")))  # type: ignore[arg-type]
        if self.simplified and self.estimate:
            raise ValueError("--simplified and --estimate exclude each other; name both in --methods")
        variant = "ilrg-simplified" if self.simplified else "ilrg-estimate" if self.estimate else None
        if variant:
            methods = [variant if name == "ilrg" else name for name in methods]
        if self.compare:
            methods += ["idlg", "gi", "rlg"]
        options["methods"] = tuple(methods)
        return options
