"""From configuration to runs: the product of each block's axes, shared between experiments by run id."""

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import ValidationError

from gradleak.errors import InputError
from gradleak.plan.axes import CATALOGUE_AXES, IMAGE_ATTACKS, Run, composed, values_of
from gradleak.plan.cli import describe
from gradleak.plan.config import Config, Experiment
from gradleak.plan.config_sources import Sources
from gradleak.plan.entry_labels import Named, method_of
from gradleak.plan.grid_checks import Faults, check_names
from gradleak.plan.grid_priors import prior_faults, with_priors
from gradleak.plan.jobs.diffusion import TrainPrior
from gradleak.plan.jobs.images import OF_MATCHING, ImageAttack
from gradleak.plan.jobs.labels import RestoreLabels
from gradleak.plan.jobs.spec import by_id
from gradleak.plan.jobs.training import TrainVictim
from gradleak.plan.lpips_files import weights_digest
from gradleak.plan.model_options import DEFAULTS
from gradleak.plan.names import UNDEFENDED
from gradleak.plan.paths import check_run_id
from gradleak.plan.trainings import victims_of
from gradleak.plan.typed import read_value

_VICTIM_OPTIONS = {*DEFAULTS, "pretrained"}
"""Options that turn an entry of the catalogue into another victim."""


@dataclass(frozen=True)
class Grid:
    """The expanded configuration.

    Attributes:
        config: what it was expanded from.
        runs: run id -> spec; equal specs in several experiments are one run.
        victims: run id -> training of the victim that the run needs; runs on untrained victims are left out.
        priors: id -> training of a diffusion prior that some run needs.
        experiments: experiment -> its run ids, in the order of its axes.
        named: experiment -> the entries of the catalogue that it names, by their names in results.
        tables: names of the tables to build.
        figures: names of the figures to build.
    """

    config: Config
    runs: dict[str, Run]
    victims: dict[str, TrainVictim]
    priors: dict[str, TrainPrior]
    experiments: dict[str, tuple[str, ...]]
    named: dict[str, Named]
    tables: tuple[str, ...]
    figures: tuple[str, ...]

    def label_policies(self, experiments: Iterable[str]) -> dict[str, str]:
        """Return how the image attacks of some experiments get their labels, by run.

        Controls are left out, because their labels say nothing about a client.
        """
        runs = {run: self.runs[run] for name in experiments for run in self.experiments[name]}
        attacks = {run: spec for run, spec in runs.items() if isinstance(spec, ImageAttack)}
        return {run: spec.labels for run, spec in attacks.items() if not spec.is_control}


@dataclass(frozen=True)
class _Job:
    """A run before it is checked.

    Attributes:
        spec: its type.
        options: of the spec.
        point: its point on the axes.
        attacks: names of its attacks: all label methods share a run, while every image attack has its own.
    """

    spec: type[Run]
    options: dict[str, Any]
    point: Mapping[str, Any]
    attacks: tuple[str, ...]


def _combinations(block: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for values in itertools.product(*map(values_of, block.values())):
        yield dict(zip(block, values, strict=True))


def _jobs(config: Config, experiment: Experiment, point: Mapping[str, Any]) -> Iterator[_Job]:
    """Yield the jobs of one point; a prior has its name in the catalogue."""
    values = dict(point)
    dataset, model = config.datasets[values.pop("dataset")], config.models[values.pop("model")]
    defenses = composed(values.pop("defense", UNDEFENDED))
    common: dict[str, Any] = {
        "defenses": tuple(config.defenses[name].canonical() for name in defenses),
        "data_root": config.data.root,
        "download": config.data.download,
        "dataset": dataset.kind,
        "metrics": tuple(config.metrics[name].kind for name in experiment.metrics),
        **model.options(),
    }
    if experiment.kind == "labels":
        methods = tuple(method_of(config, name, experiment.kind) for name in experiment.attacks)
        options = {**common, **values, "methods": methods, "side_knowledge": experiment.side_knowledge}
        yield _Job(RestoreLabels, options, point, tuple(experiment.attacks))
        return
    for name in experiment.attacks:
        entry = config.attacks[name]
        # What an experiment sets holds for all its attacks, so it overrides the options of the attack.
        options = {**common, **entry.options, **values, "attack": name, "lpips": config.data.lpips}
        if entry.kind == "consistency":
            options = {key: value for key, value in options.items() if key not in OF_MATCHING} | {"method": entry.kind}
        yield _Job(IMAGE_ATTACKS[entry.kind], options, point, (name,))


def _excluded(job: _Job, experiment: Experiment, run: Run | None = None) -> bool:
    """Whether a rule drops a job, by its options as given or by those of the run that they make.

    Both are checked: a rule may drop combinations that are not valid runs, and values that follow from others.
    """
    return any(all(_has(job, run, key, value) for key, value in rule.items()) for rule in experiment.exclude)


def _has(job: _Job, run: Run | None, key: str, value: Any) -> bool:
    """Whether an option has a value, in any spelling, whether or not the job's axes set it."""
    if key in CATALOGUE_AXES:
        return job.point[key] == value
    if key == "defense":
        return composed(job.point.get(key, UNDEFENDED)) == composed(value)
    given = job.options.get(key, job.spec.model_fields[key].default) if run is None else getattr(run, key)
    try:
        return read_value(job.spec, key, given) == read_value(job.spec, key, value)
    except ValidationError:
        return False  # a wrong option is reported when the run is made


def _note_names(named: Named, config: Config, job: _Job, run: Run) -> None:
    """Record which entries of the catalogue an experiment uses for the ids in the results of one of its runs."""
    ids = [("dataset", run.dataset, job.point["dataset"])]
    if _is_entrys_model(config.models[job.point["model"]].options(), job, run):
        ids.append(("model", run.model_id, job.point["model"]))
    kind = "labels" if job.spec is RestoreLabels else "images"
    ids += [("method", method_of(config, name, kind), name) for name in job.attacks]
    ids += zip(itertools.repeat("defense"), run.defenses, composed(job.point.get("defense", UNDEFENDED)))
    for part, identifier, name in ids:
        named.setdefault(part, {}).setdefault(identifier, {})[name] = None


def _is_entrys_model(entry: Mapping[str, Any], job: _Job, run: Run) -> bool:
    """Whether a run attacks the model of a catalogue entry, and not one that its axes have changed."""
    given = {name: value for name, value in job.options.items() if name in _VICTIM_OPTIONS}
    if given == {name: value for name, value in entry.items() if name in _VICTIM_OPTIONS}:
        return True
    # An axis may write out a default, or write a number as text; and defaults depend on the job.
    rest = {name: value for name, value in job.options.items() if name not in _VICTIM_OPTIONS}
    try:
        own = job.spec(**{**rest, **entry})
    except ValidationError:
        return False
    return all(getattr(own, name) == getattr(run, name) for name in _VICTIM_OPTIONS if name in job.spec.model_fields)


def _wanted(config: Config) -> list[str]:
    """Return the experiments to run: those selected, else those that the selected tables and figures show, else all."""
    select = config.select
    if select.experiments is not None:
        return list(select.experiments)
    if select.tables is None and select.figures is None:
        return list(config.experiments)
    shown = [config.tables[name] for name in select.tables or ()]
    shown += [config.figures[name] for name in select.figures or ()]
    return [name for view in shown for name in view.experiments]


def _views(config: Config, part: Literal["tables", "figures"], wanted: list[str], faults: Faults) -> tuple[str, ...]:
    """Return the tables or figures to build: those selected, else those whose experiments are all run."""
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
        config: a configuration that passed :func:`gradleak.plan.config.load`.
        sources: the files that it came from, for messages.

    Raises:
        InputError: every semantic fault, one per line, with file and key.
    """
    faults = Faults(sources)
    check_names(config, faults)
    faults.check()
    wanted = _wanted(config)
    tables, figures = (_views(config, part, wanted, faults) for part in ("tables", "figures"))
    expanded: list[tuple[str, Run]] = []
    named: dict[str, Named] = {}
    for name in config.experiments:
        if name not in wanted:
            continue
        experiment = config.experiments[name]
        named[name] = {}
        before = len(expanded)
        for number, block in enumerate(experiment.axes):
            for point in _combinations({**config.defaults, **block}):
                for job in _jobs(config, experiment, point):
                    if _excluded(job, experiment):
                        continue
                    try:
                        run = job.spec(**job.options).with_modules()
                    except ValidationError as error:
                        fields = {str(fault["loc"][0]) for fault in error.errors() if fault["loc"]}
                        general = bool(fields) and fields <= config.defaults.keys() - block.keys()
                        where = "defaults" if general else f"experiments.{name}.axes.{number}"
                        faults.add(where, describe(error, flag=""))
                        continue
                    if not _excluded(job, experiment, run):
                        expanded.append((name, run))
                        _note_names(named[name], config, job, run)
        if len(expanded) == before and not faults.lines:
            faults.add(f"experiments.{name}", "no run is left after exclude")
    for name, fault in prior_faults(config, expanded):
        faults.add(f"experiments.{name}", fault)
    for weights in {run.lpips_weights for _, run in expanded if isinstance(run, ImageAttack)}:
        try:
            weights_digest(weights)
        except InputError as error:
            faults.add("data.lpips", str(error))
    faults.check()
    placed, priors = with_priors(config, expanded)
    ids = [run.run_id for run in placed]
    members: dict[str, dict[str, None]] = {name: {} for name in named}
    for (name, _), run_id in zip(expanded, ids, strict=True):
        members[name][run_id] = None
        try:
            check_run_id(run_id)
        except ValueError as error:
            faults.add(f"experiments.{name}", str(error))
    faults.check()
    runs = by_id(zip(ids, placed, strict=True))
    experiments = {name: tuple(ids) for name, ids in members.items()}
    return Grid(config, runs, victims_of(runs), priors, experiments, named, tables, figures)
