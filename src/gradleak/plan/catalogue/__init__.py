"""Every kind by part and name: its facts, and the object that implements it.

A kind is one entry: ``name -> facts``, in the file of its part for built-in kinds, in ``FACTS`` of its file for those
of plug-ins. :func:`find` reads facts and imports no torch; :func:`load` imports the object when it is used. The files
of entries are imported by name, so that an entry counts as code of exactly the jobs that use it
(:mod:`gradleak.plan.code`).
"""

from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from typing import Any, Literal, Protocol, overload

from gradleak import extras
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
"""How messages name a kind of each part."""

IMAGE_KINDS = ("matching", "consistency", "diffusion")
"""Kinds of attacks that reconstruct images; all other kinds are label methods, and so is ``consistency``."""


class Source(Protocol):
    """A registered plug-in, see :class:`gradleak.plan.plugins.Plugin`."""

    @property
    def path(self) -> str: ...

    @property
    def facts(self) -> Mapping[Part, Mapping[str, Facts]]: ...

    def load(self, part: Part, name: str) -> Any: ...


ENTERED: list[Source] = []
"""The plug-ins registered in this process (:func:`gradleak.plan.plugins.enter`)."""


@cache
def built_in(part: Part) -> Mapping[str, Any]:
    """Return the built-in kinds."""
    return import_module(f"{__name__}.{part}").KINDS


def source_of(part: Part, name: str) -> Any:
    """Return the plug-in that provides a kind; None for built-in and unknown kinds."""
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
        InputError: there is no such kind.
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
        InputError: there is no such kind, the file of its plug-in fails or lacks the object, or a package of the extra
            ``workflow`` that the kind needs is not installed.
    """
    facts = find(part, name)
    plugin = source_of(part, name)
    if plugin is not None:
        return plugin.load(part, name)
    with extras.needed_by(f"{WHAT[part]} {name}"):
        return _imported(facts.object)


def load_images(name: str) -> Any:
    """Return the image attack of a label method that also reconstructs images, imported now."""
    return _imported(find("attacks", name).images)


def _imported(place: str) -> Any:
    module, _, attribute = place.partition(":")
    return getattr(import_module(module), attribute)


def spelt(part: Literal["datasets", "models"], spelling: object) -> str:
    """Return the canonical name for a spelling of a kind, whether or not that kind exists."""
    name = str(spelling).lower()
    return next((known for known, facts in _all(part) if name in facts.spellings), name)


def is_taken(part: Part, name: str) -> bool:
    """Whether the name belongs to a kind already or is reserved in results."""
    if name in names(part) or (part == "attacks" and (name in IMAGE_KINDS or not is_attack(name))):
        return True
    return (part == "datasets" or part == "models") and spelt(part, name) != name


def dataset_facts(name: str, image_size: int | None = None) -> DatasetFacts:
    """Return the constants of a data set, at another image size if one is given.

    Args:
        name: canonical name.
        image_size: height and width in pixels; it may differ from the data set's own only if that is resizable.

    Raises:
        InputError: there is no such data set, or it cannot have that size.
    """
    known = find("datasets", name)
    if image_size in (None, known.image_size):
        return known
    if not known.resizable:
        resizable = ", ".join(other for other, facts in _all("datasets") if facts.resizable)
        raise InputError(
            f"image_size {image_size} does not match {name}, whose images have {known.image_size}; "
            f"only {resizable} can be resized"
        )
    if image_size < 1:
        raise InputError(f"image_size {image_size}: use a number of pixels of at least 1, such as {known.image_size}")
    return known.model_copy(update={"image_size": image_size})


def is_sample(name: str) -> bool:
    """Whether a data set is a packaged sample, which has the same images in every split."""
    return stands_for(name) != name


def stands_for(name: str) -> str:
    """Return the full data set of a packaged sample, or the name itself."""
    return next((facts.sample_of or name for known, facts in _all("datasets") if known == name), name)
