"""Options of the clients' local training."""

import re
from typing import Any, Self

from pydantic import Field, model_validator

from gradleak.plan.jobs.options import BatchOptions


class LocalTrainingOptions(BatchOptions):
    """A client's training on its batch: by default a single step on the whole batch, whose gradient is sent."""

    local_epochs: int = Field(default=1, ge=1, description="epochs of local training")
    local_steps: int | None = Field(default=None, ge=1, description="steps of local training, in place of whole epochs")
    local_batch_size: int | None = Field(
        default=None, ge=1, description="images per mini-batch of local training (default: the whole batch)"
    )
    local_lr: float = Field(default=0.01, gt=0, description="learning rate of local training (SGD)")
    local_momentum: float = Field(default=0.0, ge=0, lt=1, description="momentum of local training")
    local_weight_decay: float = Field(default=0.0, ge=0, description="weight decay of local training")
    bn_eval: bool = Field(
        default=True, description="let BatchNorm use running statistics instead of those of the batch"
    )

    @model_validator(mode="before")
    @classmethod
    def _steps_are_epochs(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Express steps on whole batches as epochs, so that equal trainings are equal runs."""
        steps = values.get("local_steps")
        whole = values.get("local_batch_size") is None and str(values.get("local_epochs", 1)) == "1"
        if whole and re.fullmatch("[1-9][0-9]*", str(steps), re.ASCII):  # a string on the command line
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
        """Whether a client splits its batch into mini-batches."""
        return self.local_batch_size is not None and self.local_batch_size < self.batch_size

    @property
    def takes_steps(self) -> bool:
        """Whether a client sends an update instead of the gradient of its batch."""
        steps = self.local_epochs if self.local_steps is None else self.local_steps
        return self.has_mini_batches or steps > 1
