"""From configuration to runs: the product of each block's axes, shared between experiments by run id."""

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import ValidationError

from gradleak import facts
from gradleak.cli import describe
from gradleak.config import Axis, Config, Experiment, Scalar, Sources
from gradleak.errors import InputError
from gradleak.image_spec import Reconstruct
from gradleak.models.options import OPTIONS
from gradleak.spec import RestoreLabels, VictimOptions

_CATALOGUE_AXES = ("dataset", "model")
_NOT_AXES = {"methods", "attack", "checkpoint", "defenses"}

SPECS: dict[str, type[RestoreLabels] | type[Reconstruct]] = {"labels": RestoreLabels, "images": Reconstruct}
"""Kind of an experiment -> options of its jobs."""

MATCHING = "matching"
"""The kind of attack that reconstructs images by gradient matching; all other kinds restore labels."""


def axes_of(kind: str) -> tuple[str, ...]:
    """Options of the jobs of an experiment that may be axes; ``defense`` takes names of the catalogue."""
    spec = SPECS[kind]
    return (*(name for name in spec.model_fields if name not in _NOT_AXES and spec.is_identity(name)), "defense")


UNDEFENDED = "none"
"""The value of the axis ``defense`` that stands for no defense."""


@dataclass(frozen=True)
class Grid:
    """The expanded configuration.

    Attributes:
        config: what it was expanded from.
        runs: run id -> spec; equal specs of several experiments are one run.
        experiments: experiment -> its run ids, in the order of its axes.
        tables: names of the tables to build.
        figures: names of the figures to build.
    """

    config: Config
    runs: dict[str, RestoreLabels | Reconstruct]
    experiments: dict[str, tuple[str, ...]]
    tables: tuple[str, ...]
    figures: tuple[str, ...]


def _values(axis: Axis) -> list[Scalar | list[str]]:
    return axis if isinstance(axis, list) else [axis]


def _composed(value: Any) -> list[str]:
    """Names of the defenses that one value of the axis ``defense`` applies, in order."""
    return [name for name in (value if isinstance(value, list) else [value]) if name != UNDEFENDED]


def _combinations(block: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for values in itertools.product(*map(_values, block.values())):
        yield dict(zip(block, values, strict=True))


def _excluded(point: Mapping[str, Any], experiment: Experiment) -> bool:
    return any(all(point.get(key) == value for key, value in rule.items()) for rule in experiment.exclude)


def _resolve(config: Config, experiment: Experiment, point: Mapping[str, Any]) -> Iterator[RestoreLabels | Reconstruct]:
    """Yield the runs of one point: all label methods share one, every image attack has its own."""
    values = dict(point)
    dataset, model = config.datasets[values.pop("dataset")], config.models[values.pop("model")]
    defenses = _composed(values.pop("defense", UNDEFENDED))
    common: dict[str, Any] = {
        "defenses": tuple(config.defenses[name].canonical() for name in defenses),
        "data_root": config.data.root,
        "download": config.data.download,
        "dataset": dataset.kind,
        **model.options(),
    }
    if experiment.kind == "labels":
        yield RestoreLabels(**common, **values, methods=tuple(config.attacks[name].kind for name in experiment.attacks))
        return
    for name in experiment.attacks:
        # What an experiment says holds for all its attacks, so it goes before what the attack is by default.
        yield Reconstruct(
            **{**common, **config.attacks[name].options, **values, "attack": name, "lpips": config.data.lpips}
        )


class _Faults:
    """Faults of meaning, collected so that all are reported together."""

    def __init__(self, sources: Sources) -> None:
        self.sources = sources
        self.lines: dict[str, None] = {}

    def add(self, key: str, text: str) -> None:
        self.lines[self.sources.fault(key, text)] = None

    def unknown(self, key: str, kind: str, name: object, known: Iterable[str]) -> None:
        self.add(key, f"unknown {kind} {name!r}; known: {', '.join(known) or 'none'}")

    def check(self) -> None:
        if self.lines:
            raise InputError("\n".join(self.lines))


def _check_names(config: Config, faults: _Faults) -> None:
    """Names must be in their catalogues, and catalogue entries must name something that exists."""
    for part, known in (
        ("datasets", facts.DATASETS),
        ("attacks", (*facts.LABEL_METHODS, MATCHING)),
        ("models", OPTIONS),
    ):
        for name, entry in getattr(config, part).items():
            if entry.kind not in known:
                faults.unknown(f"{part}.{name}.kind", part[:-1], entry.kind, known)
    for name, entry in config.models.items():
        try:
            VictimOptions(**entry.options())
        except ValidationError as error:
            faults.add(f"models.{name}", describe(error, flag=""))
    for name, entry in config.defenses.items():
        if name == UNDEFENDED:
            faults.add(f"defenses.{name}", "this name stands for no defense; choose another")
        try:
            entry.canonical()
        except ValueError as error:
            faults.add(f"defenses.{name}", str(error))
    for name, entry in config.attacks.items():
        for option in entry.options:
            if entry.kind != MATCHING:
                faults.add(f"attacks.{name}.options.{option}", f"kind {entry.kind} has no options; only {MATCHING} has")
            elif option not in axes_of("images") or option in RestoreLabels.model_fields:
                known = [axis for axis in axes_of("images") if axis not in (*RestoreLabels.model_fields, "defense")]
                faults.unknown(f"attacks.{name}.options.{option}", "option", option, known)
    for name, experiment in config.experiments.items():
        for attack in experiment.attacks:
            if attack not in config.attacks:
                faults.unknown(f"experiments.{name}.attacks", "attack", attack, config.attacks)
            elif (config.attacks[attack].kind == MATCHING) != (experiment.kind == "images"):
                does = "reconstructs images" if experiment.kind == "labels" else "restores labels"
                faults.add(
                    f"experiments.{name}.attacks", f"{attack} {does}; the experiment is of kind {experiment.kind}"
                )
        known_axes = axes_of(experiment.kind)
        for number, block in enumerate(experiment.axes):
            where = f"experiments.{name}.axes.{number}"
            point = {**config.defaults, **block}
            for axis in _CATALOGUE_AXES:
                if axis not in point:
                    faults.add(where, f"{axis} is missing")
            for key, axis in point.items():
                if key not in known_axes:
                    faults.unknown(f"{where}.{key}", "axis", key, known_axes)
                for value in _values(axis):
                    if key == "defense":
                        unknown = [part for part in _composed(value) if part not in config.defenses]
                    elif isinstance(value, list):
                        faults.add(f"{where}.{key}", "a list in a list composes defenses; no other axis has that")
                        continue
                    else:
                        unknown = [value] if key in _CATALOGUE_AXES and value not in getattr(config, key + "s") else []
                    for name_of in unknown:
                        faults.unknown(f"{where}.{key}", key, name_of, getattr(config, key + "s"))
        axes = {key for block in experiment.axes for key in (*config.defaults, *block)}
        for number, rule in enumerate(experiment.exclude):
            for key in rule:
                if key not in axes:
                    faults.unknown(f"experiments.{name}.exclude.{number}", "axis", key, sorted(axes))
    for part, kinds in (("tables", facts.TABLES), ("figures", facts.FIGURES)):
        for name, view in getattr(config, part).items():
            if view.kind not in kinds:
                faults.unknown(f"{part}.{name}.kind", "kind", view.kind, kinds)
                continue
            for experiment in view.experiments:
                if experiment not in config.experiments:
                    faults.unknown(f"{part}.{name}.experiments", "experiment", experiment, config.experiments)
                    continue
                attacks = config.experiments[experiment].attacks
                kinds_run = {config.attacks[attack].kind for attack in attacks if attack in config.attacks}
                missing = [method for method in kinds[view.kind] if method not in kinds_run]
                if missing:
                    text = f"a {view.kind} needs {', '.join(missing)}, which {experiment} does not run"
                    faults.add(f"{part}.{name}.experiments", text)
    for part in ("experiments", "tables", "figures"):
        for name in getattr(config.select, part) or ():
            if name not in getattr(config, part):
                faults.unknown(f"select.{part}", part[:-1], name, getattr(config, part))


def _wanted(config: Config) -> list[str]:
    """Experiments to run: those selected, else those that the selected tables and figures show, else all."""
    select = config.select
    if select.experiments is not None:
        return list(select.experiments)
    if select.tables is None and select.figures is None:
        return list(config.experiments)
    shown = [config.tables[name] for name in select.tables or ()]
    shown += [config.figures[name] for name in select.figures or ()]
    return [name for view in shown for name in view.experiments]


def _views(config: Config, part: Literal["tables", "figures"], wanted: list[str], faults: _Faults) -> tuple[str, ...]:
    """Tables or figures to build: those selected, else those whose experiments are all run."""
    catalogue, chosen = getattr(config, part), getattr(config.select, part)
    if chosen is None:
        return tuple(name for name, view in catalogue.items() if set(view.experiments) <= set(wanted))
    for name in chosen:
        for experiment in catalogue[name].experiments:
            if experiment not in wanted:
                faults.add(f"select.{part}", f"{name} shows {experiment}, which select.experiments leaves out")
    return tuple(chosen)


def expand(config: Config, sources: Sources) -> Grid:
    """Expand the selected experiments, and those that the selected tables and figures show.

    Args:
        config: a configuration of the right shape.
        sources: the files that it came from, for messages.

    Raises:
        InputError: every fault of meaning, one a line, with file and key.
    """
    faults = _Faults(sources)
    _check_names(config, faults)
    faults.check()
    wanted = _wanted(config)
    tables, figures = (_views(config, part, wanted, faults) for part in ("tables", "figures"))
    runs: dict[str, RestoreLabels | Reconstruct] = {}
    experiments: dict[str, tuple[str, ...]] = {}
    for name in config.experiments:
        if name not in wanted:
            continue
        experiment = config.experiments[name]
        ids: dict[str, None] = {}
        for number, block in enumerate(experiment.axes):
            for point in _combinations({**config.defaults, **block}):
                if _excluded(point, experiment):
                    continue
                try:
                    for spec in _resolve(config, experiment, point):
                        runs[spec.run_id] = spec
                        ids[spec.run_id] = None
                except ValidationError as error:
                    reason = describe(error, flag="")
                    faults.add(f"experiments.{name}.axes.{number}", reason)
        if not ids and not faults.lines:
            faults.add(f"experiments.{name}", "no run is left after exclude")
        experiments[name] = tuple(ids)
    faults.check()
    return Grid(config, runs, experiments, tables, figures)
