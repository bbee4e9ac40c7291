"""Semantic faults in a well-formed configuration: names missing from the catalogue, options that do not apply."""

from collections.abc import Iterable
from typing import Literal

from pydantic import ValidationError

from gradleak.errors import InputError
from gradleak.plan import catalogue, plugins
from gradleak.plan.axes import (
    CATALOGUE_AXES,
    IMAGE_ATTACKS,
    MOVED,
    MOVED_IN_PRIORS,
    Run,
    axes_of,
    composed,
    values_of,
)
from gradleak.plan.catalogue.facts import EMBEDDINGS, IMAGES, LABELS
from gradleak.plan.cli import describe
from gradleak.plan.config import AttackEntry, Axis, Config, Experiment, TableView, View
from gradleak.plan.config_sources import Sources
from gradleak.plan.jobs.labels import RestoreLabels
from gradleak.plan.jobs.options import VictimOptions
from gradleak.plan.methods import method_name
from gradleak.plan.names import UNDEFENDED
from gradleak.plan.paths import check_run_id
from gradleak.plan.typed import read_value

_NAMED = (*CATALOGUE_AXES, "defense", "prior")
"""Axes whose values are names from the catalogue of the same name in the plural."""


_IN_WORDS = {
    LABELS: "label attacks",
    IMAGES: "image attacks",
    EMBEDDINGS: "an attack that recovers embeddings",
}
"""Requirements of tables and figures, in words for messages."""


class Faults:
    """Faults, collected to be reported together."""

    def __init__(self, sources: Sources) -> None:
        self.sources = sources
        self.lines: dict[str, None] = {}

    def add(self, key: str, text: str) -> None:
        """Record what is wrong with a dotted key."""
        self.lines[self.sources.fault(key, text)] = None

    def unknown(self, key: str, kind: str, name: object, known: Iterable[str]) -> None:
        """Record an unknown name."""
        self.add(key, f"unknown {kind} {name!r}; known: {', '.join(known) or 'none'}")

    def check(self) -> None:
        """Raise an InputError if there are faults."""
        if self.lines:
            raise InputError("\n".join(self.lines))


def check_names(config: Config, faults: Faults) -> None:
    """Check that names are in their catalogues, and that catalogue entries name existing kinds."""
    _check_plugins(config, faults)
    _check_kinds(config, faults)
    _check_models(config, faults)
    _check_defenses(config, faults)
    _check_attacks(config, faults)
    _check_priors(config, faults)
    for name, experiment in config.experiments.items():
        _check_attacks_of(f"experiments.{name}.attacks", experiment, config, faults)
        for metric in experiment.metrics:
            if metric not in config.metrics:
                faults.unknown(f"experiments.{name}.metrics", "metric", metric, config.metrics)
        _check_axes(f"experiments.{name}.axes", experiment, config, faults)
        _check_exclude(f"experiments.{name}.exclude", experiment, config, faults)
    for name, view in config.tables.items():
        _check_view("tables", name, view, config, faults)
    for name, view in config.figures.items():
        _check_view("figures", name, view, config, faults)
    _check_selection(config, faults)


def _check_plugins(config: Config, faults: Faults) -> None:
    """Register the plug-ins, so that the other checks know their kinds; each must provide the kind of its entry."""
    for part in ("datasets", "models", "attacks", "defenses", "metrics", "tables", "figures"):
        for name, entry in getattr(config, part).items():
            if entry.module is None:
                continue
            try:
                plugins.enter([entry.module])
            except InputError as error:
                faults.add(f"{part}.{name}.module", str(error))
                continue
            # The kind of an image attack is built in; a plug-in can only provide its objective.
            image = part == "attacks" and entry.kind in IMAGE_ATTACKS
            where, kind = ("objectives", entry.options.get("cost_fn")) if image else (part, entry.kind)
            brings = plugins.plugin_at(entry.module).facts.get(where, {})
            if kind not in brings:
                known = f"FACTS.{where} in {entry.module} has {', '.join(brings) or 'nothing'}"
                faults.add(
                    f"{part}.{name}.{'options.cost_fn' if image else 'kind'}", f"{kind!r} does not exist; {known}"
                )


def _check_kinds(config: Config, faults: Faults) -> None:
    for part, known in (
        ("datasets", catalogue.names("datasets")),
        ("attacks", (*catalogue.names("attacks"), *IMAGE_ATTACKS)),
        ("models", catalogue.names("models")),
        ("metrics", catalogue.names("metrics")),
    ):
        for name, entry in getattr(config, part).items():
            if entry.kind not in known:
                faults.unknown(f"{part}.{name}.kind", part[:-1], entry.kind, known)


def _check_models(config: Config, faults: Faults) -> None:
    for name, entry in config.models.items():
        try:
            VictimOptions(**entry.options())
        except ValidationError as error:
            faults.add(f"models.{name}", describe(error, flag=""))


def _check_defenses(config: Config, faults: Faults) -> None:
    for name, entry in config.defenses.items():
        if name == UNDEFENDED:
            faults.add(f"defenses.{name}", "this name means no defense; choose another")
        try:
            entry.canonical()
        except ValueError as error:
            faults.add(f"defenses.{name}", str(error))


def _check_attacks(config: Config, faults: Faults) -> None:
    for name, entry in config.attacks.items():
        spec = IMAGE_ATTACKS.get(entry.kind)
        if spec is not None:
            try:
                spec(attack=name)
            except ValidationError as error:
                faults.add(f"attacks.{name}", error.errors()[0]["msg"].removeprefix("Value error, "))
        if spec is None:
            _check_method(f"attacks.{name}", entry, faults)
            continue
        for option, value in entry.options.items():
            where = f"attacks.{name}.options.{option}"
            if option in MOVED:
                faults.add(where, MOVED[option])
            elif option not in axes_of(spec) or option in RestoreLabels.model_fields:
                own = [axis for axis in axes_of(spec) if axis not in (*RestoreLabels.model_fields, "defense")]
                faults.unknown(where, "option", option, own)
            else:
                _check_value(where, spec, option, value, faults)
        prior = entry.options.get("prior")
        if prior is not None and prior not in config.priors:
            faults.unknown(f"attacks.{name}.options.prior", "prior", prior, config.priors)


def _check_method(where: str, entry: AttackEntry, faults: Faults) -> None:
    """Check that a label method has its options, with values in their ranges."""
    if entry.kind not in catalogue.names("attacks"):
        return
    for option, value in entry.options.items():
        try:
            method_name(entry.kind, {option: value})
        except ValueError as error:
            faults.add(f"{where}.options.{option}", str(error))


def _check_value(where: str, spec: type[Run], option: str, value: object, faults: Faults) -> None:
    """Check the type and range of an option's value; other constraints are checked when a run is made."""
    try:
        read_value(spec, option, value)
    except ValidationError as error:
        faults.add(where, f"{error.errors()[0]['msg']} (given: {value!r})")


def _check_priors(config: Config, faults: Faults) -> None:
    for name, entry in config.priors.items():
        moved = [option for option in entry.options if option in MOVED_IN_PRIORS]
        for option in moved:
            faults.add(f"priors.{name}.options.{option}", MOVED_IN_PRIORS[option])
        if moved:
            continue
        try:
            if entry.hub is None:
                check_run_id(entry.training().run_id)
        except ValidationError as error:
            faults.add(f"priors.{name}.options", describe(error, flag=""))
        except ValueError as error:
            faults.add(f"priors.{name}.options", str(error))


def _check_attacks_of(where: str, experiment: Experiment, config: Config, faults: Faults) -> None:
    for attack in experiment.attacks:
        if attack not in config.attacks:
            faults.unknown(where, "attack", attack, config.attacks)
        elif config.attacks[attack].kind not in (
            IMAGE_ATTACKS if experiment.kind == "images" else catalogue.names("attacks")
        ):
            does = "reconstructs images" if experiment.kind == "labels" else "restores labels"
            faults.add(where, f"{attack} {does}; the experiment is of kind {experiment.kind}")


def _check_axes(where: str, experiment: Experiment, config: Config, faults: Faults) -> None:
    known = axes_of(*_specs_of(experiment, config))
    for number, block in enumerate(experiment.axes):
        point = {**config.defaults, **block}
        for axis in CATALOGUE_AXES:
            if axis not in point:
                faults.add(f"{where}.{number}", f"{axis} is missing")
        for key, axis in point.items():
            if key in MOVED:
                faults.add(f"{where}.{number}.{key}", MOVED[key])
            elif key not in known:
                faults.unknown(f"{where}.{number}.{key}", "axis", key, known)
            _check_values(f"{where}.{number}.{key}", key, axis, config, faults)


def _check_values(where: str, key: str, axis: Axis, config: Config, faults: Faults) -> None:
    """Check that names among the values of an axis are in their catalogue."""
    named = key in _NAMED
    catalogue = getattr(config, key + "s") if named else {}
    for value in values_of(axis):
        if isinstance(value, list) and key != "defense":
            faults.add(where, "only defense takes a list within the list, which composes defenses")
        elif named:
            for name in composed(value) if key == "defense" else [value]:
                if name not in catalogue:
                    faults.unknown(where, key, name, catalogue)


def _check_exclude(where: str, experiment: Experiment, config: Config, faults: Faults) -> None:
    axes = {key for block in experiment.axes for key in (*config.defaults, *block)}
    spec, *_ = _specs_of(experiment, config)
    for number, rule in enumerate(experiment.exclude):
        for key, value in rule.items():
            if key in MOVED:
                faults.add(f"{where}.{number}.{key}", MOVED[key])
            elif key not in axes:
                faults.unknown(f"{where}.{number}", "axis", key, sorted(axes))
            elif key in _NAMED:
                _check_values(f"{where}.{number}.{key}", key, value, config, faults)
            elif key in spec.model_fields:
                _check_value(f"{where}.{number}.{key}", spec, key, value, faults)


def _check_view(part: Literal["tables", "figures"], name: str, view: View, config: Config, faults: Faults) -> None:
    """Check that the experiments of a table or figure have what its kind requires."""
    where = f"{part}.{name}"
    if view.kind not in catalogue.names(part):
        faults.unknown(f"{where}.kind", "kind", view.kind, catalogue.names(part))
        return
    needs = catalogue.find(part, view.kind).needs
    for shown in view.experiments:
        if shown not in config.experiments:
            faults.unknown(f"{where}.experiments", "experiment", shown, config.experiments)
            continue
        has = _has(config.experiments[shown], config)
        missing = [_IN_WORDS.get(need, need) for need in needs if need not in has]
        if missing:
            faults.add(f"{where}.experiments", f"{view.kind} needs {' and '.join(missing)}; {shown} has none")
    if isinstance(view, TableView) and view.metrics and not catalogue.find("tables", view.kind).chooses_metrics:
        faults.add(f"{where}.metrics", f"the metrics of {view.kind} cannot be chosen; leave them out")


def _has(experiment: Experiment, config: Config) -> set[str]:
    """Return what an experiment provides of the requirements of views."""
    kinds = _kinds_of(experiment, config)
    labels = [] if experiment.kind == IMAGES else [kind for kind in kinds if kind in catalogue.names("attacks")]
    gives = [what for kind in labels for what in catalogue.find("attacks", kind).gives]
    return {experiment.kind, *kinds, *gives}


def _kinds_of(experiment: Experiment, config: Config) -> list[str]:
    """Return the kinds of the experiment's attacks, without unknown ones."""
    return [config.attacks[attack].kind for attack in experiment.attacks if attack in config.attacks]


def _specs_of(experiment: Experiment, config: Config) -> list[type[Run]]:
    """Return the types of the experiment's jobs, each once."""
    types = [IMAGE_ATTACKS[kind] for kind in _kinds_of(experiment, config) if kind in IMAGE_ATTACKS]
    return list(dict.fromkeys(types)) or [RestoreLabels]


def _check_selection(config: Config, faults: Faults) -> None:
    for part in ("experiments", "tables", "figures"):
        for name in getattr(config.select, part) or ():
            if name not in getattr(config, part):
                faults.unknown(f"select.{part}", part[:-1], name, getattr(config, part))
