"""From configuration to runs: the product of each block's axes, shared between experiments by run id."""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import ValidationError

from gradleak import plugins
from gradleak.axes import IMAGE_ATTACKS, UNDEFENDED, Run, composed, values_of
from gradleak.cli import describe
from gradleak.config import Config, Experiment, PriorEntry, Sources
from gradleak.diffusion_spec import DiffusionReconstruct, TrainPrior, batches_id
from gradleak.grid_checks import Faults, check_names
from gradleak.label_spec import RestoreLabels

Found = tuple[str, Run]
"""The name of an experiment and one of its runs."""


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


def _combinations(block: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for values in itertools.product(*map(values_of, block.values())):
        yield dict(zip(block, values, strict=True))


def _excluded(point: Mapping[str, Any], experiment: Experiment) -> bool:
    return any(all(point.get(key) == value for key, value in rule.items()) for rule in experiment.exclude)


def _resolve(config: Config, experiment: Experiment, point: Mapping[str, Any]) -> Iterator[Run]:
    """Yield the runs of one point: all label methods share one, every image attack has its own.

    A run with a prior names it as the catalogue does; :func:`_with_priors` puts its folder there.
    """
    values = dict(point)
    dataset, model = config.datasets[values.pop("dataset")], config.models[values.pop("model")]
    defenses = composed(values.pop("defense", UNDEFENDED))
    common: dict[str, Any] = {
        "defenses": tuple(config.defenses[name].canonical() for name in defenses),
        "data_root": config.data.root,
        "download": config.data.download,
        "dataset": dataset.kind,
        **model.options(),
    }
    brought = {
        "datasets": [dataset.kind],
        "models": [model.kind],
        "defenses": [config.defenses[name].kind for name in defenses],
    }
    if experiment.kind == "labels":
        methods = tuple(config.attacks[name].kind for name in experiment.attacks)
        modules = plugins.used(**brought, attacks=methods)
        yield RestoreLabels(**common, **values, methods=methods, modules=modules)
        return
    for name in experiment.attacks:
        entry = config.attacks[name]
        # What an experiment says holds for all its attacks, so it goes before what the attack is by default.
        options = {**common, **entry.options, **values, "attack": name, "lpips": config.data.lpips}
        options["modules"] = plugins.used(**brought, objectives=[str(options.get("cost_fn"))])
        yield IMAGE_ATTACKS[entry.kind](**options)


def _with_priors(config: Config, found: list[Found]) -> tuple[list[Found], dict[str, TrainPrior]]:
    """Put the folders of priors into the runs that name them.

    A prior keeps off all images that a run with it attacks: where it learns from the split that the clients hold,
    their batches are named to it.
    """
    attacked: dict[str, set[str]] = {}
    for _, run in found:
        if isinstance(run, DiffusionReconstruct) and run.prior in config.priors:
            batches = attacked.setdefault(run.prior, set())
            if _shares_images(run, config.priors[run.prior]):
                batches.add(batches_id(run))
    trained = {}
    for name, batches in attacked.items():
        entry = config.priors[name]
        if entry.hub is None:
            where = {"data_root": config.data.root, "download": config.data.download}
            modules = plugins.used(datasets=[str(entry.options.get("dataset"))])
            trained[name] = entry.training(**where, avoid=tuple(sorted(batches)), modules=modules)
    placed = []
    for experiment, run in found:
        if isinstance(run, DiffusionReconstruct) and run.prior in config.priors:
            hub = config.priors[run.prior].hub
            run = run.model_copy(update={"prior": hub or str(trained[run.prior].folder)})
        placed.append((experiment, run))
    return placed, {spec.run_id: spec for spec in trained.values()}


def _shares_images(run: DiffusionReconstruct, prior: PriorEntry) -> bool:
    """Whether the images that a run attacks are among those that a prior may learn from."""
    if run.dataset != prior.options.get("dataset"):
        return False
    # Every split of a sample is all of its images.
    learnt = prior.options.get("split", "val")
    return run.dataset.endswith("-sample") or "all" in (run.split, learnt) or run.split == learnt


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


def _views(config: Config, part: Literal["tables", "figures"], wanted: list[str], faults: Faults) -> tuple[str, ...]:
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
    faults = Faults(sources)
    check_names(config, faults)
    faults.check()
    wanted = _wanted(config)
    tables, figures = (_views(config, part, wanted, faults) for part in ("tables", "figures"))
    found: list[Found] = []
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
        run_id = spec.run_id
        runs[run_id] = spec
        members[name][run_id] = None
    experiments = {name: tuple(ids) for name, ids in members.items()}
    return Grid(config, runs, priors, experiments, tables, figures)
