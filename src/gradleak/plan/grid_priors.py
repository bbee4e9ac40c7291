"""The diffusion priors that the runs of a grid need, and the images that each must not be trained on."""

from collections.abc import Iterator

from gradleak.plan import catalogue
from gradleak.plan.axes import Run
from gradleak.plan.config import Config
from gradleak.plan.jobs.diffusion import DiffusionReconstruct, TrainPrior, batches_id
from gradleak.plan.jobs.spec import by_id

Used = tuple[str, Run]
"""The name of an experiment and one of its runs."""


def trained_priors(config: Config) -> dict[str, TrainPrior]:
    """Return the trainings of the catalogue's priors by name, before the clients' batches are excluded."""
    where = {"data_root": config.data.root, "download": config.data.download}
    return {name: entry.training(**where) for name, entry in config.priors.items() if entry.hub is None}


def prior_faults(config: Config, runs: list[Used]) -> Iterator[tuple[str, str]]:
    """Yield the experiments whose runs would refuse their prior, with the reason."""
    trained = trained_priors(config)
    for experiment, run in runs:
        if isinstance(run, DiffusionReconstruct) and run.prior in trained:
            fault = _misfit(run, trained[run.prior])
            if fault is not None:
                yield experiment, f"prior {run.prior} {fault}"


def with_priors(config: Config, runs: list[Used]) -> tuple[list[Run], dict[str, TrainPrior]]:
    """Replace the catalogue names of priors in runs by the folders of the priors.

    A prior is trained on no image that a run with it attacks: if it learns from the clients' split, their batches are
    excluded by name.

    Returns:
        The runs, and the trainings that they need, by id.
    """
    trained = trained_priors(config)
    attacked: dict[str, set[str]] = {}
    for _, run in runs:
        if isinstance(run, DiffusionReconstruct) and run.prior in trained:
            batches = attacked.setdefault(run.prior, set())
            if _shares_images(run, trained[run.prior]):
                batches.add(batches_id(run))
    needed: dict[str, TrainPrior] = {}
    for name, batches in attacked.items():
        training = config.priors[name].training(
            data_root=config.data.root, download=config.data.download, avoid=tuple(sorted(batches))
        )
        needed[name] = training.with_modules()
    placed = []
    for _, run in runs:
        if isinstance(run, DiffusionReconstruct) and run.prior in config.priors:
            place = config.priors[run.prior].hub or str(needed[run.prior].folder)
            run = run.model_copy(update={"prior": place})
        placed.append(run)
    return placed, by_id((prior.run_id, prior) for prior in needed.values())


def _shares_images(run: DiffusionReconstruct, prior: TrainPrior) -> bool:
    """Whether a prior may learn from images that a run attacks."""
    if run.dataset != prior.dataset:
        return False
    return catalogue.is_sample(run.dataset) or "all" in (run.split, prior.split) or run.split == prior.split


def _misfit(run: DiffusionReconstruct, prior: TrainPrior) -> str | None:
    """Return why a run cannot use a prior."""
    if run.dataset != prior.dataset and catalogue.stands_for(run.dataset) == catalogue.stands_for(prior.dataset):
        return (
            f"learns from {prior.dataset}, which shares images with {run.dataset}; "
            f"let it learn from {run.dataset}, so that the clients' images can be excluded"
        )
    ours, learnt = catalogue.dataset_facts(run.dataset, run.image_size), catalogue.dataset_facts(prior.dataset)
    if (ours.channels, ours.image_size) != (learnt.channels, learnt.image_size):
        return (
            f"is for images of {learnt.channels} x {learnt.image_size} x {learnt.image_size} ({prior.dataset}); "
            f"those of {run.dataset} are {ours.channels} x {ours.image_size} x {ours.image_size}"
        )
    if run.client_indices and _shares_images(run, prior):
        return (
            f"learns from split {prior.split} of {prior.dataset}, which client_indices refer to as well; "
            "let it learn from another split"
        )
    return None
