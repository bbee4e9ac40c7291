"""What the parts of ``bench/gpu.sh`` measure, most valuable first, as jobs of the usual kinds."""

from collections.abc import Mapping
from dataclasses import astuple, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from gradleak.plan.config_files import read_grid
from gradleak.plan.jobs.labels import RestoreLabels
from gradleak.plan.jobs.training import TrainVictim
from gradleak.records import CELL
from gradleak.report import published

ROOT = Path(__file__).parents[1]
GRID = (ROOT / "config" / "config.yaml", ROOT / "config" / "paper.yaml")
PUBLISHED = ROOT / "paper" / "published" / "ilrg.csv"


@dataclass(frozen=True)
class Size:
    """How large the jobs are.

    Attributes:
        dataset: of the victims.
        vgg: the victim that is trained first and inverted exactly.
        resnet: the victim of the defenses and of image reconstruction.
        stages: of the victims, cheapest first.
        seeds: of the victims: one initialisation of everything before the next.
        smaller: options that label runs get in place of their own.
        batch_sizes: of exact inversion.
        exact_tries: batches of each cell of exact inversion.
        image_batch: images of a reconstruction.
        restarts: its starts.
        iterations: of each start.
        pairs: batches, each reconstructed by both programs.
    """

    dataset: str = "cifar100"
    vgg: str = "vgg16"
    resnet: str = "resnet18"
    stages: tuple[str, ...] = ("epoch10", "epoch40", "epoch100")
    seeds: tuple[int, ...] = (1, 2, 3)
    smaller: Mapping[str, Any] = field(default_factory=dict)
    batch_sizes: tuple[int, ...] = (24, 64, 256)
    exact_tries: int = 4
    image_batch: int = 16
    restarts: int = 8
    iterations: int = 300
    pairs: int = 5


FULL = Size()

TOY = Size(
    dataset="cifar100-sample",
    vgg="lenet5",
    resnet="cnn3",
    stages=("iter1", "iter2"),
    seeds=(1,),
    smaller={"batch_size": 4, "num_tries": 1, "distribution": "random"},
    batch_sizes=(2,),
    exact_tries=1,
    image_batch=2,
    restarts=2,
    iterations=1,
    pairs=1,
)
"""To see that everything works: seconds on a CPU, on the packaged images."""


@dataclass(frozen=True)
class Place:
    """Where jobs run and keep their files.

    Attributes:
        data_root: folder of the full data sets.
        results: folder of this measurement.
        device: ``cuda``, or for a trial run ``cpu``.
    """

    data_root: Path
    results: Path
    device: str

    @property
    def options(self) -> dict[str, Any]:
        """Options of every job."""
        checkpoints = self.results / "checkpoints"
        return {
            "data_root": self.data_root,
            "device": self.device,
            "checkpoint_dir": checkpoints,
            "progress": False,
        }


def _training(size: Size, model: str, stage: str) -> dict[str, Any]:
    batch = {"train_batch_size": 16} if size is TOY else {}
    return {"dataset": size.dataset, "model": model, "stage": stage, "train_precision": "bfloat16", **batch}


def victims(size: Size, place: Place) -> list[TrainVictim]:
    """Return the trainings, each stage a training of its own length: for each seed the VGG, then the ResNet.

    Most published rows of the ResNet are at its last stage, so that comes first. The other stages that were published
    come last.
    """
    wanted: list[tuple[str, str, int]] = []
    for seed in size.seeds:
        wanted += [(size.vgg, stage, seed) for stage in size.stages]
        wanted += [(size.resnet, stage, seed) for stage in (size.stages[-1], *size.stages[:-1])]
    if size is not TOY:
        wanted += [(run.model, run.stage, seed) for seed in size.seeds for run in _published_rows(seed)]
    return [
        TrainVictim(**_training(size, model, stage), model_seed=seed, **place.options)
        for model, stage, seed in dict.fromkeys(wanted)
    ]


@cache
def _measuring(column: str, value: str) -> tuple[RestoreLabels, ...]:
    """Return the runs of config/paper.yaml that measure published rows with a value in a column."""
    figures = published.load(PUBLISHED)
    cells = set(figures.loc[figures[column] == value, list(CELL)].itertuples(index=False, name=None))
    labels = [run for run in read_grid(GRID).runs.values() if isinstance(run, RestoreLabels)]
    methods = set(figures["method"])
    return tuple(run for run in labels if astuple(run.setting()) in cells and methods.issuperset(run.methods))


def _published_rows(seed: int) -> list[RestoreLabels]:
    """Return those of victims trained for epochs."""
    return [run for run in _measuring("stage_unit", "epoch") if run.victim_seed == seed]


def rows(size: Size, place: Place) -> list[RestoreLabels]:
    """Return the label runs of victims that were trained for epochs: stages, error analysis, defenses.

    At toy size they attack the small victims and keep their defenses and analysis.
    """
    runs = [run for seed in size.seeds for run in _published_rows(seed)]
    if size is TOY:
        small = {**size.smaller, **_training(size, size.vgg, size.stages[-1])}
        runs = [run.model_copy(update=small) for run in runs]
    unique = {run.run_id: run.model_copy(update=place.options) for run in runs}
    return list(unique.values())


def exact(size: Size, place: Place) -> list[RestoreLabels]:
    """Return the cells of exact inversion, one initialisation: the VGG at its stages."""
    return [
        RestoreLabels(
            **_training(size, size.vgg, stage),
            batch_size=batch_size,
            num_tries=size.exact_tries,
            model_seed=size.seeds[0],
            **place.options,
        )
        for stage in reversed(size.stages)
        for batch_size in size.batch_sizes
    ]


def imagenet(size: Size, place: Place, images: int, split: str) -> list[RestoreLabels]:
    """Return the published rows of ImageNet whose batches these images can fill, the smallest batches first.

    Args:
        size: its seeds.
        place: where they run.
        images: how many there are.
        split: which they are.
    """
    of_seeds = [run for run in _measuring("dataset", "imagenet") if run.victim_seed in size.seeds]
    placed = [run.model_copy(update={**place.options, "split": split}) for run in of_seeds if run.batch_size <= images]
    return sorted(placed, key=lambda run: (run.victim_seed, run.batch_size))
