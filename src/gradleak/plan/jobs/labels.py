"""Options of label restoration, on the command line and in the configuration."""

from typing import ClassVar, Self

from pydantic import Field, field_validator, model_validator

from gradleak.plan import catalogue as facts
from gradleak.plan.jobs.attack import AttackRun
from gradleak.plan.jobs.options import check_model
from gradleak.plan.jobs.spec import Names, runtime


class RestoreLabels(AttackRun):
    """Label restoration: observe the head gradient of each batch and count its labels."""

    KIND: ClassVar[str] = "labels"

    methods: Names = Field(default=("ilrg",), description=f"comma-separated: {', '.join(facts.LABEL_METHODS)}")
    analysis: bool = Field(default=False, description="measure the approximations and the recovered quantities")
    alpha: float = Field(default=1.0, gt=0, description="factor on iLRG's recovered logits before the softmax")
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
    def _possible(self) -> Self:
        check_model(self.dataset, self.model)
        if self._is_set("alpha") and not {"ilrg", "ilrg-simplified"} & set(self.methods):
            raise ValueError("alpha applies to the methods ilrg and ilrg-simplified only")
        return self
