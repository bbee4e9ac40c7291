"""Options of the victim's training, for the program that trains it and for attacks on trained victims."""

import re
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from gradleak.plan import catalogue
from gradleak.plan.jobs.options import (
    TRAIN_PRECISION,
    RuntimeOptions,
    TrainPrecision,
    TrainSplitOptions,
    VictimOptions,
    check_model,
)
from gradleak.plan.jobs.spec import Spec, digest_of, runtime


def stage_parts(stage: str) -> tuple[str, int]:
    """Split the name of a stage, e.g. ``epoch10`` -> ``("epoch", 10)``."""
    unit = stage.rstrip("0123456789")
    return unit, int(stage[len(unit) :])


def steps_to(stage: str, num_images: int, batch_size: int) -> int:
    """Return the number of optimiser steps up to a stage; an epoch drops its last, incomplete batch.

    Args:
        stage: epoch<N> or iter<N>.
        num_images: of the train split.
        batch_size: of the training.
    """
    unit, number = stage_parts(stage)
    return number * (num_images // batch_size) if unit == "epoch" else number


class TrainingOptions(Spec):
    """How, and how far, the victim was trained; untrained by default."""

    stage: str = Field(default="untrained", description="untrained, epoch<N> or iter<N>")
    schedule: Literal["per-stage", "shared"] = Field(
        default="per-stage",
        description="per-stage: a separate training for each stage; shared: stages are checkpoints of one training",
    )
    length: str | None = Field(
        default=None,
        description="length of a shared training: epoch<N> or iter<N>",
    )
    optimizer: Literal["SGD", "AdamW"] = Field(default="SGD", description="optimiser of the training")
    scheduler: Literal["linear", "none"] = Field(
        default="linear", description="linear: learning rate x0.1 at 3/8, 5/8 and 7/8 of the training"
    )
    lr: float = Field(default=0.1, gt=0, description="learning rate of the training")
    weight_decay: float = Field(default=5e-4, ge=0, description="weight decay of the training")
    warmup: bool = Field(default=False, description="raise the learning rate linearly over the first tenth")
    train_batch_size: int = Field(default=128, ge=1, description="batch size of the training")
    augment: bool = Field(default=False, description="augment the training images by random crops and flips")
    train_precision: TrainPrecision = Field(default="float32", description=TRAIN_PRECISION)

    @field_validator("stage", "length")
    @classmethod
    def _known_stage(cls, value: str | None) -> str | None:
        if value is not None and value != "untrained" and not re.fullmatch(r"(epoch|iter)[1-9][0-9]{0,7}", value):
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
            raise ValueError("schedule shared needs --length, the end of the training, for example epoch100")
        if self.schedule == "per-stage" and self.length is not None:
            raise ValueError("length applies to --schedule shared only; a per-stage training ends at its stage")
        if self.stage != "untrained" and self.length is not None:
            (unit, stage), (whole, length) = stage_parts(self.stage), stage_parts(self.length)
            if unit == whole and stage > length:
                raise ValueError(f"stage {self.stage} is after the end of the training, --length {self.length}")
        return self


def check_training(dataset: str, batch_size: int, train_images: int | None) -> None:
    """Refuse a training batch larger than the train split, if its size is known."""
    size = catalogue.find("datasets", dataset).sizes.get("train") if train_images is None else train_images
    if size is not None and batch_size > size:
        raise ValueError(f"train_batch_size {batch_size} is more than the {size} images of {dataset} (train)")


class TrainVictim(RuntimeOptions, TrainSplitOptions, VictimOptions, TrainingOptions):
    """The training of a victim on the train split, up to a stage.

    One seed decides the weights and the order of the images: ``model_seed``, if given, is taken as ``seed``. A shared
    schedule that ends at its stage is a training of the stage's own length, and is converted into one.
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
            raise ValueError("a training needs --stage epoch<N> or iter<N>")
        check_model(self.dataset, self.model)
        check_training(self.dataset, self.train_batch_size, self.train_images)
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
        """Digest of the training regardless of its stage, common to all stages of one shared training."""
        identity = {name: value for name, value in self.identity().items() if name not in ("stage", "schedule")}
        return digest_of({**identity, "length": self.length or self.stage})
