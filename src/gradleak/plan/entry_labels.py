"""Labels of the catalogue's entries, by which tables and figures write the ids in results.

An id stands for options, so entries with equal options share one id. A view takes the label of the entry that its own
experiments name.
"""

from collections.abc import Iterable, Iterator, Sequence

from gradleak.plan import catalogue
from gradleak.plan.axes import IMAGE_ATTACKS
from gradleak.plan.config import Config
from gradleak.plan.jobs.options import VictimOptions
from gradleak.plan.methods import method_name
from gradleak.plan.names import composition

Named = dict[str, dict[str, dict[str, None]]]
"""Part of the labels -> id -> names of the entries by which an experiment names it, in order."""

CATALOGUES = {"dataset": "datasets", "model": "models", "method": "attacks", "defense": "defenses"}
"""Part of the labels -> the catalogue of its entries."""


def labels_of(
    config: Config, named: Iterable[Named], compositions: Iterable[Sequence[str]] = ()
) -> dict[str, dict[str, str]]:
    """Return part -> id -> label for a view, and under ``told`` method -> its side knowledge.

    An id shared by several entries gets the label of the first that the view's experiments name; an id that they do not
    name (because an axis changed an entry's options, say) gets that of the first entry in the catalogue.

    Args:
        config: the catalogues.
        named: the names that each experiment of the view uses, in the view's order.
        compositions: ids of the composed defenses in runs of the view.
    """
    labels = {part: {} for part in (*CATALOGUES, "told")}
    for part, identifier, entry in (*_names(named), *_catalogue(config)):
        labels[part].setdefault(identifier, getattr(config, CATALOGUES[part])[entry].label)
    of_defense = labels["defense"]
    of_defense |= {composition(ids): " + ".join(of_defense[name] for name in ids) for ids in compositions if ids}
    for name, entry in config.attacks.items():
        if entry.kind in catalogue.names("attacks") and (side := catalogue.find("attacks", entry.kind).side):
            labels["told"][method_of(config, name, "labels")] = ", ".join(side)
    return labels


def two_labels(config: Config, named: Iterable[Named]) -> list[str]:
    """Return a warning for each id that a view's experiments name by entries with different labels."""
    entries: dict[tuple[str, str], dict[str, str]] = {}
    for part, identifier, entry in _names(named):
        label = getattr(config, CATALOGUES[part])[entry].label
        entries.setdefault((part, identifier), {}).setdefault(label, f"{CATALOGUES[part]}.{entry}")
    lines = []
    for (_, identifier), labels in entries.items():
        if len(labels) > 1:
            (first, _), *_ = labels.items()
            names = " and ".join(labels.values())
            lines.append(f"{names} have equal options ({identifier}), so both are written {first!r}")
    return lines


def _names(named: Iterable[Named]) -> Iterator[tuple[str, str, str]]:
    for names in named:
        for part, ids in names.items():
            for identifier, entries in ids.items():
                for entry in entries:
                    yield part, identifier, entry


def _catalogue(config: Config) -> Iterator[tuple[str, str, str]]:
    for name, entry in config.datasets.items():
        yield "dataset", entry.kind, name
    for name, entry in config.models.items():
        yield "model", VictimOptions(**entry.options()).model_id, name
    for name in config.attacks:
        yield from (("method", method, name) for method in methods_of(config, name))
    for name, entry in config.defenses.items():
        yield "defense", entry.canonical(), name


def method_of(config: Config, attack: str, kind: str) -> str:
    """Return the name of an attack in results: a label method's kind and options, or an image attack's entry."""
    entry = config.attacks[attack]
    return attack if kind == catalogue.IMAGES else method_name(entry.kind, entry.options)


def methods_of(config: Config, attack: str) -> list[str]:
    """Return the names of an attack in the results of any experiment."""
    kind = config.attacks[attack].kind
    roles = [
        role
        for role, kinds in (("labels", catalogue.names("attacks")), (catalogue.IMAGES, IMAGE_ATTACKS))
        if kind in kinds
    ]
    return list(dict.fromkeys(method_of(config, attack, role) for role in roles))
