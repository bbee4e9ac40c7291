"""Every kind by part and name: what it is, what must be known of it, and the object that makes it.

A kind is one entry: ``name -> facts``, in the file of its part for built-in kinds, in ``FACTS`` of its file for those
of plug-ins. :func:`find` reads facts and imports no torch; :func:`load` imports the object when it is used. The files
of entries are imported by name, so that an entry counts as code of the jobs that use it (:mod:`gradleak.plan.code`)
and of no others.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from typing import Any, Literal, Protocol, overload

from gradleak.errors import InputError
from gradleak.plan.catalogue.facts import (
    IMAGES,
    DatasetFacts,
    DefenseFacts,
    Facts,
    FigureFacts,
    MethodFacts,
    MetricFacts,
    ModelFacts,
    ObjectiveFacts,
    TableFacts,
)
from gradleak.records import is_attack

__all__ = ["IMAGES", "IMAGE_KINDS", "PARTS", "DatasetFacts", "Facts", "ModelFacts", "Part", "find", "load", "names"]

Part = Literal["attacks", "objectives", "datasets", "models", "defenses", "metrics", "tables", "figures"]

Kind = tuple[Part, str]
"""Part and name."""

PARTS: Mapping[Part, type[Facts]] = {
    "attacks": MethodFacts,
    "objectives": ObjectiveFacts,
    "datasets": DatasetFacts,
    "models": ModelFacts,
    "defenses": DefenseFacts,
    "metrics": MetricFacts,
    "tables": TableFacts,
    "figures": FigureFacts,
}
"""Parts of the catalogue, and the facts of their kinds."""

WHAT: Mapping[Part, str] = {
    "attacks": "label method",
    "objectives": "objective",
    "datasets": "data set",
    "models": "model",
    "defenses": "kind of defense",
    "metrics": "metric",
    "tables": "table kind",
    "figures": "figure kind",
}
"""What messages call a kind of a part."""

IMAGE_KINDS = ("matching", "consistency", "diffusion")
"""Kinds of attacks that reconstruct images; all other kinds are label methods, and so is ``consistency``."""


class Source(Protocol):
    """A plug-in that was entered, see :class:`gradleak.plan.plugins.Plugin`."""

    @property
    def path(self) -> str: ...

    @property
    def facts(self) -> Mapping[Part, Mapping[str, Facts]]: ...

    def load(self, part: Part, name: str) -> Any: ...


ENTERED: list[Source] = []
"""The plug-ins of this process, entered at its door (:func:`gradleak.plan.plugins.enter`)."""


@cache
def built_in(part: Part) -> Mapping[str, Any]:
    """Return the kinds of this package."""
    return import_module(f"{__name__}.{part}").KINDS


def source_of(part: Part, name: str) -> Any:
    """Return the plug-in that brings a kind; None for built-in kinds and those that nothing brings."""
    return next((plugin for plugin in ENTERED if name in plugin.facts.get(part, ())), None)


def _all(part: Part) -> Iterator[tuple[str, Any]]:
    yield from built_in(part).items()
    for plugin in ENTERED:
        yield from plugin.facts.get(part, {}).items()


def names(part: Part) -> tuple[str, ...]:
    """Return the names of all kinds of a part, those of plug-ins last."""
    return tuple(name for name, _ in _all(part))


@overload
def find(part: Literal["attacks"], name: str) -> MethodFacts: ...
@overload
def find(part: Literal["objectives"], name: str) -> ObjectiveFacts: ...
@overload
def find(part: Literal["datasets"], name: str) -> DatasetFacts: ...
@overload
def find(part: Literal["models"], name: str) -> ModelFacts: ...
@overload
def find(part: Literal["defenses"], name: str) -> DefenseFacts: ...
@overload
def find(part: Literal["metrics"], name: str) -> MetricFacts: ...
@overload
def find(part: Literal["figures"], name: str) -> FigureFacts: ...
@overload
def find(part: Literal["tables", "figures"], name: str) -> TableFacts: ...
@overload
def find(part: Part, name: str) -> Facts: ...
def find(part: Part, name: str) -> Any:
    """Return the facts of a kind.

    Raises:
        InputError: nothing has that name.
    """
    known = built_in(part).get(name)
    if known is None and (plugin := source_of(part, name)) is not None:
        known = plugin.facts[part][name]
    if known is None:
        raise InputError(f"unknown {WHAT[part]} {name!r}; known: {', '.join(names(part))}")
    return known


def load(part: Part, name: str) -> Any:
    """Return the object that makes a kind, imported now.

    Raises:
        InputError: nothing has that name, or the file of its plug-in fails or lacks the object.
    """
    facts = find(part, name)
    plugin = source_of(part, name)
    return _imported(facts.object) if plugin is None else plugin.load(part, name)


def load_images(name: str) -> Any:
    """Return what reconstructs images by the name of a label method that does both, imported now."""
    return _imported(find("attacks", name).images)


def _imported(place: str) -> Any:
    module, _, attribute = place.partition(":")
    return getattr(import_module(module), attribute)


def spelt(part: Literal["datasets", "models"], spelling: object) -> str:
    """Return the name that a spelling of a kind stands for, whether or not there is such a kind."""
    name = str(spelling).lower()
    return next((known for known, facts in _all(part) if name in facts.spellings), name)


def is_taken(part: Part, name: str) -> bool:
    """Whether a kind has the name already, or results mean something else by it."""
    if name in names(part) or (part == "attacks" and (name in IMAGE_KINDS or not is_attack(name))):
        return True
    return (part == "datasets" or part == "models") and spelt(part, name) != name


def dataset_facts(name: str, image_size: int | None = None) -> DatasetFacts:
    """Return the constants of a data set, at another image size if one is given.

    Args:
        name: canonical name.
        image_size: height and width in pixels; other than the set's own only if it is resizable.

    Raises:
        InputError: no data set has that name, or it cannot have that size.
    """
    known = find("datasets", name)
    if image_size in (None, known.image_size):
        return known
    if not known.resizable:
        resizable = ", ".join(other for other, facts in _all("datasets") if facts.resizable)
        raise InputError(
            f"image_size {image_size} is not that of {name}, which is {known.image_size}; "
            f"it can be chosen for {resizable} only"
        )
    if image_size < 1:
        raise InputError(f"image_size {image_size}: use a number of pixels of at least 1, such as {known.image_size}")
    return known.model_copy(update={"image_size": image_size})


def is_sample(name: str) -> bool:
    """Whether a data set is a packaged sample, which has one set of images under the name of every split."""
    return stands_for(name) != name


def stands_for(name: str) -> str:
    """Return the full data set that a name stands for: that of a packaged sample, or the name itself."""
    return next((facts.sample_of or name for known, facts in _all("datasets") if known == name), name)
