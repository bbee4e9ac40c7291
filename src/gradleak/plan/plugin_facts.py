"""What a plug-in declares of the kinds that it registers, and the tables of facts that it goes into."""

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Literal, Self

from pydantic import ConfigDict, Field, field_validator, model_validator

from gradleak.plan import catalogue as facts
from gradleak.plan import model_options as options
from gradleak.plan.typed import Real, Typed, Whole
from gradleak.records import is_attack


class Kind(Typed):
    """What the plan must know of one kind."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def enter(self, name: str) -> None:
        """Put the kind into the tables of facts."""
        raise NotImplementedError


class Attack(Kind):
    """A label-restoration method: its name is all."""

    def enter(self, name: str) -> None:
        """See :class:`Kind`."""
        facts.LABEL_METHODS.append(name)


class Objective(Kind):
    """An objective of image attacks: its name is all."""

    def enter(self, name: str) -> None:
        """See :class:`Kind`."""
        facts.OBJECTIVES.append(name)


class Dataset(Kind):
    """See :class:`gradleak.plan.catalogue.DatasetFacts`; the size of ``all`` may be left to those of train and val."""

    num_classes: int = Field(ge=2)
    channels: int = Field(ge=1)
    image_size: int = Field(ge=1)
    mean: tuple[Real, ...]
    std: tuple[Real, ...]
    sizes: dict[Literal["train", "val", "all"], Whole] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_constant_per_channel(self) -> Self:
        if not len(self.mean) == len(self.std) == self.channels or min(self.std) <= 0:
            raise ValueError(f"mean and std need {self.channels} numbers each, one per channel, std above 0")
        if not all(0 <= value <= 1 for value in (*self.mean, *self.std)):
            raise ValueError("mean and std are those of pixels from 0 (black) to 1 (white); divide them by 255")
        return self

    def enter(self, name: str) -> None:
        """See :class:`Kind`."""
        sizes: dict[str, int] = {str(split): size for split, size in self.sizes.items()}
        if {"train", "val"} <= set(sizes):
            sizes.setdefault("all", sizes["train"] + sizes["val"])
        shape = (self.num_classes, self.channels, self.image_size)
        facts.DATASETS[name] = facts.DatasetFacts(*shape, self.mean, self.std, sizes, stands_for=name)


class Defense(Kind):
    """See :class:`gradleak.plan.catalogue.DefenseFacts`."""

    strength: str
    high: float = Field(gt=0)

    @field_validator("strength")
    @classmethod
    def _is_a_key(cls, value: str) -> str:
        if not re.fullmatch(r"[a-z][a-z0-9_]*", value) or value in ("kind", "label", "module"):
            raise ValueError("the name of the strength is a key of the configuration, such as noise_std")
        return value

    def enter(self, name: str) -> None:
        """See :class:`Kind`."""
        facts.DEFENSES[name] = facts.DefenseFacts(self.strength, self.high)


class Model(Kind):
    """A victim: which of the options of :mod:`gradleak.plan.model_options` it has, and what it reads.

    Attributes:
        options: names of its options.
        activations: values of the option ``activation``, if it has it.
        min_image_size: height and width of the smallest image that it reads.
    """

    options: frozenset[str] = frozenset()
    activations: tuple[str, ...] = ("relu", "silu", "gelu", "leaky_relu", "sigmoid")
    min_image_size: int = Field(default=1, ge=1)

    @field_validator("options")
    @classmethod
    def _known_options(cls, value: frozenset[str]) -> frozenset[str]:
        unknown = sorted(value - set(options.DEFAULTS))
        if unknown:
            raise ValueError(f"unknown option {unknown[0]!r}; known: {', '.join(options.DEFAULTS)}")
        return value

    def enter(self, name: str) -> None:
        """See :class:`Kind`."""
        options.OPTIONS[name] = self.options
        options.SMALLEST[name] = self.min_image_size
        if "activation" in self.options:
            options.ACTIVATIONS[name] = self.activations


class Table(Kind):
    """A table: the kinds of attacks that its experiments must have, or :data:`gradleak.plan.catalogue.IMAGES`."""

    needs: tuple[str, ...] = ()

    def enter(self, name: str) -> None:
        """See :class:`Kind`."""
        facts.TABLES[name] = self.needs


class Figure(Table):
    """A figure: likewise, and whether it shows the images of the runs besides their metrics."""

    shows_images: bool = False

    def enter(self, name: str) -> None:
        """See :class:`Kind`."""
        facts.FIGURES[name] = self.needs
        if self.shows_images:
            facts.SHOWS_IMAGES.append(name)


class Facts(Typed):
    """All that one plug-in declares, by part: the catalogue of the configuration that names the kinds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    attacks: dict[str, Attack] = Field(default_factory=dict)
    objectives: dict[str, Objective] = Field(default_factory=dict)
    datasets: dict[str, Dataset] = Field(default_factory=dict)
    models: dict[str, Model] = Field(default_factory=dict)
    defenses: dict[str, Defense] = Field(default_factory=dict)
    tables: dict[str, Table] = Field(default_factory=dict)
    figures: dict[str, Figure] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _names_fit(self) -> Self:
        for part, name, _ in self.kinds():
            between = _SEPARATORS.get(part, "_-")
            if not re.fullmatch(rf"[a-z][a-z0-9]*([{between}][a-z0-9]+)*", name):
                words = " or ".join({"_": "underscores", "-": "hyphens"}[mark] for mark in between)
                raise ValueError(f"{part}.{name}: use lower-case letters and digits, with {words} between")
        return self

    def of(self, part: str) -> Mapping[str, Kind]:
        """Return the kinds of one part by name."""
        return getattr(self, part)

    def kinds(self) -> Iterator[tuple[str, str, Kind]]:
        """Yield part, name and facts of every kind."""
        for part in type(self).model_fields:
            for name, kind in self.of(part).items():
                yield part, name, kind


# A hyphen parts a defense from its strength and a model from its options; a data set's name is in file names.
_SEPARATORS = {"datasets": "-", "defenses": "_", "models": "_"}

_TAKEN: Mapping[str, tuple[Collection[str], ...]] = {
    "attacks": (facts.LABEL_METHODS, facts.IMAGE_KINDS),
    "objectives": (facts.OBJECTIVES,),
    "datasets": (facts.DATASETS, facts.DATASET_SPELLINGS),
    "models": (options.OPTIONS, facts.MODEL_SPELLINGS),
    "defenses": (facts.DEFENSES,),
    "tables": (facts.TABLES,),
    "figures": (facts.FIGURES,),
}


def is_taken(part: str, name: str) -> bool:
    """Whether a kind has the name already, or results mean something else by it."""
    return any(name in names for names in _TAKEN[part]) or (part == "attacks" and not is_attack(name))
