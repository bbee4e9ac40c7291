"""One frozen type per kind of job: config entry, command line, sidecar and documentation at once.

A field with ``identity=False`` says where or how a job runs, never what it computes; it is left out of the run id.
The id hashes only what differs from the defaults, so a new option does not rename the runs that do not use it.
Raise a kind's ``VERSION`` when its code changes what an equal spec computes.
"""

import hashlib
import json
import re
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from gradleak import facts
from gradleak.distributions import check_batch
from gradleak.models.options import DEFAULTS, OPTIONS, check_images, check_options


def split_commas(value: object) -> Any:
    """``"a,b"`` -> ``("a", "b")``; anything that is no text is returned as it is."""
    return tuple(part for part in value.split(",") if part) if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], BeforeValidator(split_commas)]
"""Several names: a comma-separated text on the command line, a list in YAML."""


def runtime(default: Any, description: str, **kwargs: Any) -> Any:
    """Declare a field that cannot change a result: it is no part of the run id."""
    return Field(default, description=description, json_schema_extra={"identity": False}, **kwargs)


def _digest(identity: dict[str, Any]) -> str:
    text = json.dumps(identity, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:8]


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
        return _digest(self.identity())

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


class DatasetOptions(Spec):
    """Which data set."""

    dataset: str = Field(default="cifar100", description=f"data set: {', '.join(facts.DATASETS)}")

    @field_validator("dataset", mode="before")
    @classmethod
    def _spell_dataset(cls, value: str) -> str:
        name = str(value).lower()
        name = facts.DATASET_SPELLINGS.get(name, name)
        facts.dataset_facts(name)
        return name


class BatchOptions(DatasetOptions):
    """Which images a client holds. Batches depend on these fields alone."""

    split: Literal["train", "val", "all"] = Field(default="train", description="part of the data set")
    num_classes: int | None = Field(default=None, ge=2, description="number of classes; must be that of the data set")
    num_images: int = Field(default=24, ge=1, description="batch size B")
    distribution: str = Field(default="random", description=f"classes of a batch: {', '.join(facts.DISTRIBUTIONS)}")
    num_uniform_cls: int | None = Field(default=None, ge=1, description="classes of a balanced batch (default 32)")
    num_target_cls: int | None = Field(default=None, ge=1, description="classes of a random2 or sim batch (default 5)")
    num_tries: int = Field(default=50, ge=1, description="batches, each attacked once")
    seed: int = Field(default=12, ge=0, description="seed of every random stream")

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
                values[option] = default if values.get(option) is None else values[option]
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
        check_batch(
            self.distribution,
            self.num_images,
            self.num_classes or known.num_classes,
            num_uniform_cls=self.num_uniform_cls or 0,
            num_target_cls=self.num_target_cls or 0,
        )
        return self

    @property
    def distribution_id(self) -> str:
        """The distribution with its parameter, e.g. ``balanced-32``."""
        number = self.num_uniform_cls or self.num_target_cls
        return f"{self.distribution}-{number}" if number else self.distribution


class VictimOptions(Spec):
    """The model that the server sent to the client."""

    model: str = Field(default="lenet5", description=f"architecture: {', '.join(OPTIONS)}")
    n_hidden: int = Field(default=1, ge=0, le=16, description="hidden layers of the FCN after the first")
    n_dim: int = Field(default=300, ge=1, description="width of the FCN")
    activation: Literal["relu", "silu", "leaky_relu", "sigmoid"] = Field(
        default="relu", description="of LeNet-5 and LeNet"
    )
    batchnorm: bool = Field(default=False, description="BatchNorm after each convolution of LeNet-5")
    dropout: bool = Field(default=False, description="dropout 0.5 in the classifier of VGG (off while observing)")
    stem: Literal["released", "imagenet"] = Field(default="released", description="first layers of a ResNet")
    model_seed: int | None = Field(default=None, ge=0, description="seed of the victim's weights (default: --seed)")

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


def stage_parts(stage: str) -> tuple[str, int]:
    """Split the name of a stage, e.g. ``epoch10`` -> ``("epoch", 10)``."""
    unit = stage.rstrip("0123456789")
    return unit, int(stage[len(unit) :])


class TrainingOptions(Spec):
    """How far the victim was trained, and how. Untrained unless a stage is named."""

    stage: str = Field(default="untrained", description="untrained, epoch<N> or iter<N>")
    schedule: Literal["per-stage", "shared"] = Field(
        default="per-stage",
        description="each stage is a training of its own length, or a checkpoint of one training",
    )
    length: str | None = Field(default=None, description="epoch<N> or iter<N>: the whole training of a shared schedule")
    optimizer: Literal["SGD", "AdamW"] = Field(default="SGD", description="of the training")
    scheduler: Literal["linear", "none"] = Field(
        default="linear", description="linear: learning rate x0.1 at 3/8, 5/8 and 7/8 of the training"
    )
    lr: float = Field(default=0.1, gt=0, description="learning rate of the training")
    weight_decay: float = Field(default=5e-4, ge=0, description="weight decay of the training")
    warmup: bool = Field(default=False, description="raise the learning rate linearly over the first tenth")
    batch_size: int = Field(default=128, ge=1, description="batch size of the training")
    augment: bool = Field(default=False, description="random crop and flip in the training")

    @field_validator("stage", "length")
    @classmethod
    def _known_stage(cls, value: str | None) -> str | None:
        if value is not None and value != "untrained" and not re.fullmatch(r"(epoch|iter)[1-9]\d*", value):
            raise ValueError(f"stage {value!r}; use untrained, epoch<N> or iter<N>, for example epoch100")
        return value

    @field_validator("length")
    @classmethod
    def _length_is_one(cls, value: str | None) -> str | None:
        if value == "untrained":
            raise ValueError("length 'untrained'; use epoch<N> or iter<N>, for example epoch100")
        return value

    @model_validator(mode="after")
    def _shared_has_a_length(self) -> Self:
        if self.schedule == "shared" and self.stage != "untrained" and self.length is None:
            raise ValueError("schedule shared needs length: the whole training, for example epoch100")
        if self.schedule == "per-stage" and self.length is not None:
            raise ValueError("length applies to schedule shared only; a per-stage training ends at its stage")
        if self.stage != "untrained" and self.length is not None:
            (unit, stage), (whole, length) = stage_parts(self.stage), stage_parts(self.length)
            if unit == whole and stage > length:
                raise ValueError(f"stage {self.stage} is after the end of the training, length {self.length}")
        return self


def canonical_defense(name: str) -> str:
    """Return ``kind-strength`` with the strength in its shortest form, e.g. ``dp-1e-2`` -> ``dp-0.01``.

    Raises:
        ValueError: an unknown kind, or a strength outside its range.
    """
    kind, _, text = name.partition("-")
    if kind not in facts.DEFENSES:
        raise ValueError(f"unknown defense {name!r}; use {', '.join(f'{known}-STRENGTH' for known in facts.DEFENSES)}")
    high = facts.DEFENSES[kind].high
    try:
        strength = float(text)
    except ValueError:
        strength = float("nan")
    if not 0 < strength <= high:
        raise ValueError(f"defense {name!r}: the strength must be a number above 0 and at most {high:g}")
    return f"{kind}-{strength:g}"


class DefenseOptions(Spec):
    """What the client does to its gradient before sending it."""

    defenses: Names = Field(
        default=(),
        description="in order, comma-separated: dp-STD, clip-BOUND, sparse-PERCENT, perturb-PERCENT",
    )
    defense_scope: Literal["head", "all"] = Field(
        default="head",
        description="defend the last layer's gradients alone, or those of all parameters together",
    )

    @field_validator("defenses")
    @classmethod
    def _known_defenses(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(canonical_defense(name) for name in value)

    @property
    def defense_id(self) -> str:
        """The defenses in order, e.g. ``clip-4+dp-0.01``, or ``none``."""
        scope = "" if self.defense_scope == "head" or not self.defenses else "@all"
        return "+".join(self.defenses) + scope if self.defenses else "none"


def check_model(dataset: str, model: str, image_size: int | None = None) -> None:
    """Refuse images that a model cannot read; ``image_size`` replaces that of the data set, if it can be resized."""
    known = facts.dataset_facts(dataset, image_size)
    check_images(model, channels=known.channels, image_size=known.image_size)


def _check_training(dataset: str, batch_size: int) -> None:
    size = facts.DATASETS[dataset].sizes.get("train")
    if size is not None and batch_size > size:
        raise ValueError(f"batch_size {batch_size} is more than the {size} images of {dataset} (train)")


class TrainVictim(RuntimeOptions, DatasetOptions, VictimOptions, TrainingOptions):
    """The training of a victim on the train split, up to a stage.

    One seed decides the weights and the order of the images: ``model_seed``, if given, is taken as ``seed``. A shared
    schedule that ends at its stage is a training of the stage's own length, and becomes one.
    """

    KIND: ClassVar[str] = "train"

    seed: int = Field(default=12, ge=0, description="seed of the weights and of the order of the images")
    checkpoint_dir: Path = runtime(Path("results/checkpoints"), "where trained victims are kept")

    @model_validator(mode="before")
    @classmethod
    def _one_spelling(cls, values: dict[str, Any]) -> dict[str, Any]:
        values = dict(values)
        model_seed = values.pop("model_seed", None)
        if model_seed is not None:
            values["seed"] = model_seed
        if values.get("schedule") == "shared" and values.get("stage") == values.get("length") is not None:
            del values["schedule"], values["length"]
        return values

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.stage == "untrained":
            raise ValueError("a training needs a stage: --stage epoch<N> or iter<N>")
        check_model(self.dataset, self.model)
        _check_training(self.dataset, self.batch_size)
        return self

    @property
    def run_id(self) -> str:
        """Readable path plus the digest: the checkpoint's folder under ``checkpoint_dir``."""
        return f"{self.dataset}/{self.model_id}/{self.stage}-seed{self.seed}-{self.digest}"

    @property
    def folder(self) -> Path:
        """Where the checkpoint is written."""
        return self.checkpoint_dir / self.run_id

    @property
    def weights(self) -> Path:
        """The checkpoint."""
        return self.folder / "model.safetensors"

    @property
    def sidecar(self) -> Path:
        """The record of the training: spec, provenance, accuracy and loss of the victim."""
        return self.folder / "train.json"

    @property
    def training_digest(self) -> str:
        """Names the training whatever its stage: those of one shared training have it in common, its end included."""
        identity = {name: value for name, value in self.identity().items() if name not in ("stage", "schedule")}
        return _digest({**identity, "length": self.length or self.stage})


class AttackRun(RuntimeOptions, BatchOptions, VictimOptions, TrainingOptions, DefenseOptions):
    """What all attacks have in common: clients with batches, a victim, and defenses of what is sent."""

    checkpoint: Path | None = Field(default=None, description="weights of the victim: safetensors or a state dict")
    checkpoint_dir: Path = runtime(Path("results/checkpoints"), "where trained victims are kept")
    chunk_size: int | None = runtime(None, "images per forward pass (default: by image size)", ge=1)

    @model_validator(mode="after")
    def _possible_victim(self) -> Self:
        if self.stage != "untrained" and self.checkpoint is None:
            _check_training(self.dataset, self.batch_size)
        else:
            unused = [name for name in TrainingOptions.model_fields if name != "stage" and self._is_set(name)]
            if unused:
                raise ValueError(f"{unused[0]} is an option of the victim's training: it needs a stage to train to")
        if self.checkpoint is not None and self.stage != "untrained":
            raise ValueError("checkpoint and stage exclude each other: weights that are given are not trained")
        if self._is_set("defense_scope") and not self.defenses:
            raise ValueError("defense_scope needs defenses")
        return self

    def _is_set(self, name: str) -> bool:
        return getattr(self, name) != type(self).model_fields[name].default

    def victim(self) -> "TrainVictim | None":
        """Return the training whose checkpoint this run needs: None if untrained, or if ``checkpoint`` is given.

        Runs that differ only in what does not touch the victim give equal trainings.
        """
        if self.stage == "untrained" or self.checkpoint is not None:
            return None
        shared = {name: getattr(self, name) for name in TrainVictim.model_fields if name in type(self).model_fields}
        return TrainVictim(**{**shared, "seed": self.victim_seed, "model_seed": None, "output": None})

    @property
    def victim_seed(self) -> int:
        """Seed of the victim's weights."""
        return self.seed if self.model_seed is None else self.model_seed

    @property
    def setting_id(self) -> str:
        """Readable part of the run id: what the clients hold, and what they do to their gradients."""
        batch = f"{self.distribution_id}-B{self.num_images}-seed{self.victim_seed}"
        if self.stage != "untrained":
            batch = f"{self.stage}-{batch}"
        return f"{batch}-{self.defense_id}" if self.defenses else batch

    @property
    def run_id(self) -> str:
        """Readable path plus the digest: the run's folder under results/runs."""
        return f"{self.KIND}/{self.dataset}/{self.model_id}/{self.setting_id}-{self.digest}"


class RestoreLabels(AttackRun):
    """Label restoration: observe the head gradient of each batch and count its labels."""

    KIND: ClassVar[str] = "labels"

    methods: Names = Field(default=("ilrg",), description=f"comma-separated: {', '.join(facts.LABEL_METHODS)}")
    analysis: bool = Field(default=False, description="measure the approximations and the recovered quantities")
    alpha: float = Field(default=1.0, gt=0, description="factor on iLRG's recovered logits before the softmax")
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
    def _possible(self) -> Self:
        check_model(self.dataset, self.model)
        if self._is_set("alpha") and not {"ilrg", "ilrg-simplified"} & set(self.methods):
            raise ValueError("alpha applies to the methods ilrg and ilrg-simplified only")
        return self
