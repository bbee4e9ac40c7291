"""What an audit is told: about the training that gave an update, and, on the command line, where everything is."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import BeforeValidator, ConfigDict, Field, field_validator, model_validator

from gradleak.plan.jobs.spec import split_commas
from gradleak.plan.typed import Real, Typed, Whole

if TYPE_CHECKING:
    from gradleak.clients.local_training import LocalTraining

ADAPTIVE = ("adam", "adamw", "adagrad", "rmsprop")
"""Optimisers that divide each entry of a gradient by its own size."""

NO_SHAPE = "the shape of one input of the model, such as 3,32,32 or 784"

_LOSS = "cross-entropy"


class Told(Typed):
    """What an audit knows about an update besides its tensors and the weights that it starts from."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    input_shape: Annotated[tuple[Whole, ...], BeforeValidator(split_commas)] = Field(
        default=(), description="shape of one input of the model, such as 3,32,32 (default: that of the truth's images)"
    )
    update_is: Literal["gradient", "delta"] | None = Field(
        default=None, description="a gradient, or weights after minus weights before (default: found out by its sign)"
    )
    lr: float | None = Field(default=None, gt=0, description="learning rate of the client, for weight changes")
    local_steps: int = Field(default=1, ge=1, description="optimiser steps inside the update")
    optimizer: Literal["sgd", "adam", "adamw", "adagrad", "rmsprop"] = Field(
        default="sgd", description="optimiser of the client, for weight changes"
    )
    momentum: float = Field(default=0.0, ge=0, lt=1, description="momentum of the client's SGD, started afresh")
    weight_decay: float = Field(default=0.0, ge=0, description="weight decay of the client's optimiser")
    loss: str = Field(
        default=_LOSS, description="cross-entropy, cross-entropy,label-smoothing=X, or unknown (attacked as the former)"
    )
    bn_eval: bool = Field(
        default=False, description="the client's BatchNorm used running statistics, not those of its batch"
    )
    batch_size: int | None = Field(default=None, ge=1, description="images in the batch (default: found out)")
    mean: Annotated[tuple[Real, ...], BeforeValidator(split_commas)] = Field(
        default=(), description="mean of each channel that the client subtracts from pixels in [0, 1]"
    )
    std: Annotated[tuple[Real, ...], BeforeValidator(split_commas)] = Field(
        default=(), description="standard deviation by which it divides them"
    )
    minutes: float = Field(default=5.0, gt=0, description="time for all attacks together")
    matching: bool = Field(default=True, description="match gradients too, in the time that other attacks leave")
    defenses: bool = Field(default=True, description="attack again behind each defense that acts on the gradient alone")
    seed: int = Field(default=0, ge=0, description="seed of the starts of matching and of the noise of defenses")

    @field_validator("input_shape")
    @classmethod
    def _positive(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if any(size < 1 for size in value):
            raise ValueError("use sizes of at least 1, such as 3,32,32 or 784")
        return value

    @field_validator("loss")
    @classmethod
    def _known_loss(cls, value: str) -> str:
        smoothing_of(value)
        return value

    @model_validator(mode="after")
    def _fit(self) -> Self:
        if bool(self.mean) != bool(self.std) or len(self.mean) != len(self.std):
            raise ValueError("mean and std need one number per channel each")
        if self.mean and self.input_shape and len(self.mean) not in (1, self.input_shape[0]):
            raise ValueError(
                f"mean and std have {len(self.mean)} numbers; the inputs have {self.input_shape[0]} channels"
            )
        if self.std and min(self.std) <= 0:
            raise ValueError("std must be above 0")
        if self.weight_decay and self.lr is None:
            raise ValueError("weight_decay can only be undone with --lr")
        if self.local_steps > 1 and self.update_is == "gradient":
            raise ValueError("local_steps are those inside a weight change; a gradient has none")
        if self.momentum and self.optimizer != "sgd":
            raise ValueError(f"momentum is that of sgd; {self.optimizer} has another one, which cannot be undone")
        return self

    @property
    def smoothing(self) -> float:
        """Label smoothing of the loss; 0 for none."""
        return smoothing_of(self.loss)

    @property
    def training(self) -> "LocalTraining":
        """The client's local training on its whole batch; with a rate of 1 if the rate is not known."""
        from gradleak.clients.local_training import LocalTraining  # imports torch, which --help does without

        return LocalTraining(
            steps=self.local_steps,
            lr=self.lr or 1.0,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            bn_eval=self.bn_eval,
        )


def smoothing_of(loss: str) -> float:
    """Return the label smoothing in the name of a loss.

    Raises:
        ValueError: another loss.
    """
    name, _, option = loss.partition(",")
    key, _, number = option.partition("=")
    if loss in (_LOSS, "unknown"):
        return 0.0
    try:
        value = float(number) if name == _LOSS and key == "label-smoothing" else math.nan
    except ValueError:
        value = math.nan
    if not 0 <= value < 1:
        raise ValueError("use cross-entropy, cross-entropy,label-smoothing=X with X from 0 to below 1, or unknown")
    return value


class AuditOptions(Told):
    """Options of the command."""

    model: str = Field(description="file.py:function or package.module:function; it takes nothing and returns a module")
    update: Path | None = Field(
        default=None, description="what a client sent: .safetensors, .pt, .npz, or a folder of gradleak.capture"
    )
    checkpoint: Path | None = Field(
        default=None, description="weights that the server sent (default: those of --model)"
    )
    before: Path | None = Field(default=None, description="the same, in place of --checkpoint, with --after")
    after: Path | None = Field(default=None, description="weights of the client after its training")
    truth: Path | None = Field(
        default=None, description="the batch, to measure how close attacks come: a file with labels and images"
    )
    output: Path = Field(default=Path("audit"), description="folder for the report")
    pictures: bool = Field(default=True, description="write recovered images, which are private, into the report")
    pdf: bool = Field(default=True, description="typeset audit.pdf too, where TeX is installed")
    device: Literal["cpu"] = Field(default="cpu", description="audits run on the CPU")
    fail_on: Literal["certified", "estimated"] = Field(
        default="certified", description="exit status 1 if at least that much was found"
    )
    progress: bool = Field(default=True, description="show progress on standard error")

    @field_validator("device", mode="before")
    @classmethod
    def _cpu(cls, value: object) -> object:
        if value != "cpu":
            raise ValueError("audits run on the CPU; leave it out")
        return value

    @model_validator(mode="after")
    def _one_update(self) -> Self:
        if (self.before is None) != (self.after is None):
            raise ValueError("before and after are the weights around one training; give both")
        if (self.update is None) == (self.after is None):
            raise ValueError("give either --update, or --before and --after")
        if self.before is not None and self.checkpoint is not None:
            raise ValueError("before holds the weights already; leave out --checkpoint")
        if self.after is not None and self.update_is == "gradient":
            raise ValueError("before and after give a delta, so --update-is gradient contradicts them")
        if not self.input_shape and self.truth is None:
            raise ValueError(f"input_shape is missing: {NO_SHAPE}")
        return self

    def told(self) -> Told:
        """Return what is told about the training alone."""
        return Told(**{name: getattr(self, name) for name in Told.model_fields})
