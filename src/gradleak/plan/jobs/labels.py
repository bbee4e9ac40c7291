"""Options of label restoration, on the command line and in the configuration."""

from typing import Annotated, ClassVar, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from gradleak.plan import catalogue
from gradleak.plan.catalogue import Kind
from gradleak.plan.catalogue.facts import Side
from gradleak.plan.jobs.attack import AttackRun
from gradleak.plan.jobs.options import check_model
from gradleak.plan.jobs.spec import Names, runtime, split_commas
from gradleak.plan.methods import canonical_method, method_parts


def _sides(value: object) -> object:
    return () if value == "none" else split_commas(value)


class RestoreLabels(AttackRun):
    """Label restoration: observe the head gradient of each batch and count its labels."""

    KIND: ClassVar[str] = "labels"

    methods: Names = Field(
        default=("ilrg",),
        description=f"comma-separated, each with its options: {', '.join(catalogue.names('attacks'))}",
    )
    analysis: bool = Field(default=False, description="measure the errors of approximations and recovered quantities")
    side_knowledge: Annotated[tuple[Side, ...] | None, BeforeValidator(_sides)] = runtime(
        None, "what methods may know besides gradients: present_classes, or none (default: what they declare)"
    )
    chunk_size: int | None = runtime(None, "images per forward pass (default: by image size)", ge=1)
    exp_name: str = runtime("labels", "folder under outputs/ for the metrics when --output is not given")

    @field_validator("methods")
    @classmethod
    def _known_methods(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value:
            raise ValueError(f"no method given; known: {', '.join(catalogue.names('attacks'))}")
        return tuple(dict.fromkeys(map(canonical_method, value)))

    @model_validator(mode="after")
    def _possible(self) -> Self:
        check_model(self.dataset, self.model)
        for method, sides in self.told().items():
            if self.side_knowledge is not None and not set(sides) <= set(self.side_knowledge):
                raise ValueError(f"side_knowledge does not grant {', '.join(sides)}, which {method} needs")
        return self

    def told(self) -> dict[str, tuple[Side, ...]]:
        """Return method -> its side knowledge; methods without any are left out."""
        sides = {name: catalogue.find("attacks", method_parts(name)[0]).side for name in self.methods}
        return {name: side for name, side in sides.items() if side}

    @property
    def sees_all(self) -> bool:
        """Whether a method reads gradients of layers other than the last."""
        return any(catalogue.find("attacks", method_parts(name)[0]).sees == "all" for name in self.methods)

    def kinds(self) -> list[Kind]:
        """See :class:`gradleak.plan.jobs.spec.Spec`."""
        return [*super().kinds(), *(("attacks", method_parts(name)[0]) for name in self.methods)]
