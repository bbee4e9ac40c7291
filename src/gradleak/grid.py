"""From configuration to runs: the product of each block's axes, shared between experiments by run id."""

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import ValidationError

from gradleak import facts
from gradleak.cli import describe
from gradleak.config import Axis, Config, Experiment, Scalar, Sources
from gradleak.diffusion_spec import DiffusionReconstruct, TrainPrior, batches_id
from gradleak.errors import InputError
from gradleak.image_spec import Reconstruct
from gradleak.models.options import OPTIONS
from gradleak.spec import RestoreLabels, VictimOptions

_CATALOGUE_AXES = ("dataset", "model")
_NOT_AXES = {"methods", "attack", "checkpoint", "defenses"}

ImageRun = Reconstruct | DiffusionReconstruct
Run = RestoreLabels | ImageRun

IMAGE_ATTACKS: dict[str, type[Reconstruct] | type[DiffusionReconstruct]] = {
    "matching": Reconstruct,
    "diffusion": DiffusionReconstruct,
}
"""Kinds of attacks that reconstruct images, and the options of their jobs; all other kinds restore labels."""


def axes_of(*specs: type[Run]) -> tuple[str, ...]:
    """Options that all of these jobs have and that may be axes; ``defense`` takes names of the catalogue."""
    first, *others = specs
    names = (name for name in first.model_fields if name not in _NOT_AXES and first.is_identity(name))
    return (*(name for name in names if all(name in other.model_fields for other in others)), "defense")


UNDEFENDED = "none"
"""The value of the axis ``defense`` that stands for no defense."""


@dataclass(frozen=True)
class Grid:
    """The expanded configuration.

    Attributes:
        config: what it was expanded from.
        runs: run id -> spec; equal specs of several experiments are one run.
        priors: run id -> training of a diffusion prior that some run needs.
        experiments: experiment -> its run ids, in the order of its axes.
        tables: names of the tables to build.
        figures: names of the figures to build.
    """

    config: Config
    runs: dict[str, Run]
    priors: dict[str, TrainPrior]
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


def _resolve(config: Config, experiment: Experiment, point: Mapping[str, Any]) -> Iterator[Run]:
    """Yield the runs of one point: all label methods share one, every image attack has its own.

    A run with a prior names it as the catalogue does; :func:`_with_priors` puts its folder there.
    """
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
        entry = config.attacks[name]
        # What an experiment says holds for all its attacks, so it goes before what the attack is by default.
        options = {**common, **entry.options, **values, "attack": name, "lpips": config.data.lpips}
        yield IMAGE_ATTACKS[entry.kind](**options)


def _with_priors(config: Config, found: list[tuple[str, Run]]) -> tuple[list[tuple[str, Run]], dict[str, TrainPrior]]:
    """Put the folders of priors into the runs that name them.

    A prior keeps off all images that a run with it attacks: where it learns from the split that the clients hold, their
    batches are named to it.
    """
    attacked: dict[str, dict[str, None]] = {}
    for _, run in found:
        if isinstance(run, DiffusionReconstruct) and run.prior in config.priors:
            attacked.setdefault(run.prior, {})[batches_id(run)] = None
            options = config.priors[run.prior].options
            shared = run.dataset.endswith("-sample") or options.get("split", "val") in (run.split, "all")
            if run.dataset != options.get("dataset") or not (shared or run.split == "all"):
                del attacked[run.prior][batches_id(run)]
    trained = {}
    for name, batches in attacked.items():
        entry = config.priors[name]
        if entry.hub is None:
            where = {"data_root": config.data.root, "download": config.data.download}
            trained[name] = entry.training(**where, avoid=tuple(sorted(batches)))
    placed = []
    for experiment, run in found:
        if isinstance(run, DiffusionReconstruct) and run.prior in config.priors:
            hub = config.priors[run.prior].hub
            run = run.model_copy(update={"prior": hub or str(trained[run.prior].folder)})
        placed.append((experiment, run))
    return placed, {spec.run_id: spec for spec in trained.values()}


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
        ("attacks", (*facts.LABEL_METHODS, *IMAGE_ATTACKS)),
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
        spec = IMAGE_ATTACKS.get(entry.kind)
        for option in entry.options:
            where = f"attacks.{name}.options.{option}"
            if spec is None:
                faults.add(where, f"kind {entry.kind} has no options; only {' and '.join(IMAGE_ATTACKS)} have")
            elif option not in axes_of(spec) or option in RestoreLabels.model_fields:
                own = [axis for axis in axes_of(spec) if axis not in (*RestoreLabels.model_fields, "defense")]
                faults.unknown(where, "option", option, own)
        prior = entry.options.get("prior")
        if prior is not None and prior not in config.priors:
            faults.unknown(f"attacks.{name}.options.prior", "prior", prior, config.priors)
    for name, entry in config.priors.items():
        try:
            if entry.hub is None:
                entry.training()
        except ValidationError as error:
            faults.add(f"priors.{name}.options", describe(error, flag=""))
    for name, experiment in config.experiments.items():
        for attack in experiment.attacks:
            if attack not in config.attacks:
                faults.unknown(f"experiments.{name}.attacks", "attack", attack, config.attacks)
            elif (config.attacks[attack].kind in IMAGE_ATTACKS) != (experiment.kind == "images"):
                does = "reconstructs images" if experiment.kind == "labels" else "restores labels"
                faults.add(
                    f"experiments.{name}.attacks", f"{attack} {does}; the experiment is of kind {experiment.kind}"
                )
        kinds_of = [config.attacks[attack].kind for attack in experiment.attacks if attack in config.attacks]
        specs = [IMAGE_ATTACKS[kind] for kind in kinds_of if kind in IMAGE_ATTACKS] or [RestoreLabels]
        known_axes = axes_of(*dict.fromkeys(specs))
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
                    elif key == "prior":
                        unknown = [] if value in config.priors else [value]
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
                kinds_run |= {facts.IMAGES} if config.experiments[experiment].kind == facts.IMAGES else set()
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
    found: list[tuple[str, Run]] = []
    for name in config.experiments:
        if name not in wanted:
            continue
        experiment = config.experiments[name]
        before = len(found)
        for number, block in enumerate(experiment.axes):
            for point in _combinations({**config.defaults, **block}):
                if _excluded(point, experiment):
                    continue
                try:
                    found += [(name, spec) for spec in _resolve(config, experiment, point)]
                except ValidationError as error:
                    faults.add(f"experiments.{name}.axes.{number}", describe(error, flag=""))
        if len(found) == before and not faults.lines:
            faults.add(f"experiments.{name}", "no run is left after exclude")
    faults.check()
    placed, priors = _with_priors(config, found)
    runs: dict[str, Run] = {}
    members: dict[str, dict[str, None]] = {name: {} for name, _ in placed}
    for name, spec in placed:
        runs[spec.run_id] = spec
        members[name][spec.run_id] = None
    experiments = {name: tuple(ids) for name, ids in members.items()}
    return Grid(config, runs, priors, experiments, tables, figures)
