"""The configuration's types, which allow no unknown keys. They generate ``workflow/schemas/config.schema.json``."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WithJsonSchema,
    WrapValidator,
)
from pydantic_core import PydanticCustomError

from gradleak.errors import InputError
from gradleak.plan import catalogue, paths
from gradleak.plan.catalogue.facts import Side
from gradleak.plan.config_sources import Sources
from gradleak.plan.jobs.diffusion import TrainPrior
from gradleak.plan.jobs.options import defense_name
from gradleak.plan.typed import Real, Typed

_NAME_SCHEMA = {"type": "string", "pattern": f"^{paths.NAME}$", "maxLength": paths.LONGEST_NAME}
Name = Annotated[str, AfterValidator(paths.check_name), WithJsonSchema(_NAME_SCHEMA)]
"""A name that is part of a path."""


def _in_one_line(value: Any, handler: ValidatorFunctionWrapHandler, right: str) -> Any:
    """Give one message for a union, and not one for each of its members."""
    try:
        return handler(value)
    except ValidationError:
        raise PydanticCustomError("value", right) from None  # pyright: ignore[reportArgumentType]


def _scalar(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
    return _in_one_line(value, handler, "Input should be a string, a number, true or false")


def _axis(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
    return _in_one_line(value, handler, "Input should be a string, a number, true or false, or a list of these")


_Plain = str | int | float | bool
Scalar = Annotated[_Plain, WrapValidator(_scalar)]
Axis = Annotated[_Plain | list[_Plain | list[str]], WrapValidator(_axis)]


class _Part(Typed):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Entry(_Part):
    module: str | None = Field(default=None, description="plug-in that brings the kind, see docs/extending.md")


class Data(_Part):
    """Where the full data sets are."""

    root: Path = Field(default=Path("data"), description="folder of the full data sets")
    lpips: Path | None = Field(default=None, description="weights of LPIPS, which is not measured without them")
    download: bool = Field(default=False, description="let torchvision download MNIST and CIFAR-100 into root")


class DatasetEntry(_Entry):
    """A data set's name in tables."""

    kind: str = Field(description="loader, see gradleak.data.datasets")
    label: str = Field(min_length=1, description="its name in tables and figures")


class ModelEntry(_Entry):
    """A victim: architecture, options, and its name in tables."""

    kind: str = Field(description="architecture, see gradleak.victims.models")
    label: str = Field(min_length=1, description="its name in tables and figures")
    n_hidden: int | None = Field(default=None, description="hidden layers of the FCN after the first")
    n_dim: int | None = Field(default=None, description="width of the FCN")
    activation: str | None = Field(default=None, description="relu | silu | gelu | leaky_relu | sigmoid")
    batchnorm: bool | None = Field(default=None, description="BatchNorm in LeNet-5")
    dropout: bool | None = Field(default=None, description="dropout in VGG")
    stem: str | None = Field(default=None, description="released | imagenet, for ResNets")

    def options(self) -> dict[str, Any]:
        """Return the spec fields that this entry sets."""
        values = self.model_dump(exclude={"kind", "label", "module"}, exclude_none=True)
        return {"model": self.kind, **values}


class DefenseEntry(_Entry):
    """A kind of defense with its strength, and its name in tables."""

    # The key of the strength is the name that its kind declares.
    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Real] = Field(init=False)  # pyright: ignore[reportIncompatibleVariableOverride]

    kind: str = Field(description="transform, see gradleak.clients.defenses")
    label: str = Field(min_length=1, description="its name in tables and figures")

    def canonical(self) -> str:
        """Return the name that specs and results use, e.g. ``dp-0.01``.

        Raises:
            ValueError: an unknown kind, a missing, further or differently named strength, or one outside its range.
        """
        given = self.__pydantic_extra__
        needed = catalogue.find("defenses", self.kind).strength
        if set(given) != {needed}:
            raise ValueError(f"kind {self.kind} has one strength, {needed} (given: {', '.join(given) or 'none'})")
        return defense_name(self.kind, given[needed])


class PriorEntry(_Part):
    """A diffusion prior: one that the workflow trains, or one from the Hugging Face hub."""

    label: str = Field(min_length=1, description="its name in tables and figures")
    hub: str | None = Field(default=None, description="id of a model on the Hugging Face hub, in place of training one")
    options: dict[str, Axis] = Field(
        default_factory=dict, description="options of train_prior.py: dataset, split, channels, steps, ..."
    )

    def training(self, **more: Any) -> TrainPrior:
        """Return the training that makes it.

        Raises:
            pydantic.ValidationError: a wrong option.
        """
        options: dict[str, Any] = {
            name: tuple(map(str, value)) if isinstance(value, list) else value for name, value in self.options.items()
        }
        return TrainPrior(**options, **more)


class AttackEntry(_Entry):
    """An attack: a label method or an image attack with its options, and its name in tables."""

    kind: str = Field(description="method, see gradleak.attacks.labels; or matching or diffusion, see gradleak.attacks")
    label: str = Field(min_length=1, description="its name in tables and figures")
    options: dict[str, Scalar] = Field(
        default_factory=dict, description="options of the attack, e.g. cost_fn of an image attack"
    )


class MetricEntry(_Entry):
    """A metric that experiments may add to the usual ones."""

    kind: str = Field(description="metric, see gradleak.metrics.named")


class Experiment(_Part):
    """A set of runs: the product of each block's axes."""

    kind: Literal["labels", "images"] = Field(default="labels", description="kind of its jobs")
    attacks: list[str] = Field(description="names from the catalogue of attacks", min_length=1)
    side_knowledge: list[Side] | None = Field(
        default=None, description="what label attacks may know besides gradients; null: what they declare"
    )
    metrics: list[str] = Field(default_factory=list, description="names from the catalogue of metrics")
    axes: list[dict[str, Axis]] = Field(
        description="list of blocks; each key is an option of the job, and a list of values is an axis", min_length=1
    )
    exclude: list[dict[str, Scalar]] = Field(
        default_factory=list, description="drop the runs that match every key of one of these"
    )


class View(_Entry):
    """A table or a figure over experiments."""

    kind: str = Field(description="builder, see gradleak.report.tables or gradleak.report.figures")
    experiments: list[str] = Field(description="experiments that it shows", min_length=1)
    caption: str | None = Field(default=None, description="replaces the builder's own caption")


class TableView(View):
    """A table over experiments."""

    metrics: list[str] | None = Field(
        default=None, description="metrics to show in place of the builder's own, e.g. a plug-in's", min_length=1
    )


class Select(_Part):
    """What to make; null means everything."""

    experiments: list[str] | None = Field(default=None, description="experiments to run")
    tables: list[str] | None = Field(default=None, description="tables to build")
    figures: list[str] | None = Field(default=None, description="figures to build")


class Config(_Part):
    """The whole configuration, after all config files are merged."""

    data: Data = Field(default_factory=Data, description="where the data sets are")
    draft: bool = Field(default=False, description="build the paper even if cells are missing")
    defaults: dict[str, Axis] = Field(
        default_factory=dict, description="default values for the axes of all experiments"
    )
    datasets: dict[str, DatasetEntry] = Field(description="catalogue of data sets")
    models: dict[str, ModelEntry] = Field(description="catalogue of victims")
    attacks: dict[str, AttackEntry] = Field(description="catalogue of attacks")
    priors: dict[str, PriorEntry] = Field(default_factory=dict, description="catalogue of diffusion priors")
    defenses: dict[str, DefenseEntry] = Field(default_factory=dict, description="catalogue of defenses")
    metrics: dict[str, MetricEntry] = Field(default_factory=dict, description="catalogue of metrics")
    experiments: dict[Name, Experiment] = Field(description="experiments to run")
    tables: dict[Name, TableView] = Field(default_factory=dict, description="tables of the paper")
    figures: dict[Name, View] = Field(default_factory=dict, description="figures of the paper")
    select: Select = Field(default_factory=lambda: Select(experiments=None, tables=None, figures=None))


def load(raw: Mapping[str, Any], sources: Sources) -> Config:
    """Check the structure of a merged configuration.

    Args:
        raw: the merged content of the YAML files.
        sources: the files that it came from, for messages.

    Raises:
        InputError: every fault, one a line, with file and key.
    """
    try:
        return Config.model_validate(dict(raw))
    except ValidationError as error:
        faults = []
        for fault in error.errors():
            given = "" if isinstance(fault["input"], Mapping | list) else f" (given: {fault['input']!r})"
            key = ".".join(str(part) for part in fault["loc"] if part != "[key]")
            faults.append(sources.fault(key, fault["msg"].removeprefix("Value error, ") + given))
        raise InputError("\n".join(dict.fromkeys(faults))) from error


def schema() -> dict[str, Any]:
    """Return the JSON schema of the configuration."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Config.model_json_schema()}
