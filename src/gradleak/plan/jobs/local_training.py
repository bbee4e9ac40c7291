"""Options of what clients do with their images before they send something."""

import re
from typing import Any, Self

from pydantic import Field, model_validator

from gradleak.plan.jobs.options import BatchOptions


class LocalTrainingOptions(BatchOptions):
    """A client's training on its batch: a single step on all of it, whose gradient is sent, unless more is said."""

    local_epochs: int = Field(default=1, ge=1, description="passes of a client over its images before it sends")
    local_steps: int | None = Field(
        default=None, ge=1, description="steps of a client before it sends, in place of whole epochs"
    )
    local_batch_size: int | None = Field(
        default=None, ge=1, description="images of each of a client's mini-batches (default: all that it holds)"
    )
    local_lr: float = Field(default=0.01, gt=0, description="learning rate of a client's SGD")
    local_momentum: float = Field(default=0.0, ge=0, lt=1, description="momentum of a client's SGD")
    local_weight_decay: float = Field(default=0.0, ge=0, description="weight decay of a client's SGD")
    bn_eval: bool = Field(default=True, description="BatchNorm uses running statistics, not those of the batch")

    @model_validator(mode="before")
    @classmethod
    def _steps_are_epochs(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Count whole batches one way only, so that equal trainings are equal runs."""
        steps = values.get("local_steps")
        whole = values.get("local_batch_size") is None and str(values.get("local_epochs", 1)) == "1"
        if whole and re.fullmatch("[1-9][0-9]*", str(steps), re.ASCII):  # a text on the command line
            return {**values, "local_epochs": steps, "local_steps": None}
        return values

    @model_validator(mode="after")
    def _training_is_possible(self) -> Self:
        if self.local_steps is not None and self.local_epochs != 1:
            raise ValueError("local_steps and local_epochs cannot be combined: both set how long a client trains")
        if self.local_batch_size is not None and self.local_batch_size > self.batch_size:
            raise ValueError(
                f"local_batch_size {self.local_batch_size} is more than the {self.batch_size} images of a client"
            )
        if self.takes_steps:
            return self
        for option in ("local_lr", "local_momentum", "local_weight_decay"):
            if getattr(self, option) != type(self).model_fields[option].default:
                raise ValueError(
                    f"{option} needs local_epochs or local_steps above 1, or local_batch_size: "
                    "a client that sends its gradient takes no step"
                )
        return self

    @property
    def has_mini_batches(self) -> bool:
        """Whether a client goes through its images in parts."""
        return self.local_batch_size is not None and self.local_batch_size < self.batch_size

    @property
    def takes_steps(self) -> bool:
        """Whether a client sends an update and not the gradient of its batch."""
        steps = self.local_epochs if self.local_steps is None else self.local_steps
        return self.has_mini_batches or steps > 1
