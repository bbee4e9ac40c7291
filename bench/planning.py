"""CPU seconds of planning: dry runs of the shipped grids and of a synthetic grid of 3,000 runs, and `make plan`.

Each is a separate process in a scratch folder that links to this tree, so no files remain. User and system seconds
include child processes; each is the smallest of ``--repeats``.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from gradleak.plan import paths
from gradleak.plan.config_files import read_grid
from gradleak.plan.grid import Grid
from gradleak.plan.jobs.training import stage_parts
from gradleak.plan.trainings import victims_of

ROOT = Path(__file__).resolve().parents[1]
LINKED = ("Snakefile", "rules", "workflow", "config", "paper", "profiles", "src")
TARGET = 10.0
"""Limit in user CPU seconds for a dry run, or `make plan`, of 3,000 runs."""


class Cost(NamedTuple):
    """The cost of one call."""

    user: float
    system: float
    wall: float


def synthetic(size: int) -> dict[str, Any]:
    """Return an overlay of config.yaml with ``size`` runs of every kind: labels, trained victims, images, a prior.

    Args:
        size: number of runs, a multiple of 100.
    """
    if size < 100 or size % 100:
        raise SystemExit("planning.py: --runs must be a multiple of 100")
    hundreds = size // 100
    seeds = {"model_seed": list(range(1, hundreds + 1)), "num_tries": 1}
    noisy = ["none", "dp-0.001", "dp-0.01", "sparse-10", "sparse-80"]
    return {
        "experiments": {
            "many_labels": {
                "attacks": ["ilrg", "rlg"],
                "axes": [
                    {"dataset": "mnist", "model": "fcn3", "batch_size": [4, 8, 16, 32, 64], **seeds}
                    | {"defense": noisy},
                    {"dataset": "cifar100", "model": ["lenet5", "vgg16", "resnet18"], "batch_size": 24, **seeds}
                    | {"distribution": ["random", "extreme", "custom_imbalanced", "unique", "sim"]},
                ],
            },
            "many_stages": {
                "attacks": ["ilrg"],
                "axes": [
                    {"dataset": "mnist", "model": "fcn3", "batch_size": 24, "defense": noisy[:4], **seeds}
                    | {"stage": ["iter100", "iter500", "iter1000"], "schedule": "shared", "length": "iter1000"},
                    {"dataset": "cifar100", "model": "resnet18", "batch_size": 24, "defense": noisy[:4], **seeds}
                    | {"stage": ["epoch1", "epoch10"]},
                ],
            },
            "many_images": {
                "kind": "images",
                "attacks": ["dlg", "dlg-ilrg", "ig", "ig-ilrg", "diffusion", "diffusion-dps"],
                "axes": [{"dataset": "mnist-sample", "model": "lenet-dlg", "batch_size": 1, "defense": noisy, **seeds}],
            },
            "many_rounds": {
                "kind": "images",
                "attacks": ["ig-truth"],
                "axes": [
                    {"dataset": "cifar100", "model": "lenet-dlg", "batch_size": 1, **seeds}
                    | {"num_clients": [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]}
                ],
            },
        },
        "tables": {
            "many_labels": {"kind": "defenses", "experiments": ["many_labels"]},
            "many_images": {"kind": "reconstruction", "experiments": ["many_images", "many_rounds"]},
        },
        "figures": {"many_images": {"kind": "reconstruction_grid", "experiments": ["many_images", "many_rounds"]}},
        "select": {"experiments": ["many_labels", "many_stages", "many_images", "many_rounds"]},
    }


class Scratch:
    """A folder that looks like a checkout without results.

    Args:
        folder: an empty folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in LINKED:
            (folder / name).symlink_to(ROOT / name)

    def snakemake(self, *arguments: str) -> Cost:
        """Call Snakemake once and return its cost.

        Raises:
            SystemExit: it failed.
        """
        return self.call("-m", "snakemake", "--quiet", "all", "--cores", "2", *arguments)

    def call(self, *arguments: str) -> Cost:
        """Call Python once and return its cost.

        Raises:
            SystemExit: it failed.
        """
        command = [sys.executable, *arguments]
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        done = subprocess.run(
            command,
            cwd=self.folder,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
        if done.returncode:
            raise SystemExit(f"planning.py: {' '.join(command)} failed:\n{done.stderr}")
        return Cost(after.ru_utime - before.ru_utime, after.ru_stime - before.ru_stime, wall)

    def finish(self, grid: Grid) -> None:
        """Create empty outputs of all jobs with the right ages, and let Snakemake record them as made."""
        victims = {victim.run_id: victim for victim in victims_of(grid.runs).values()}
        results = [f"results/data/{name}.json" for name in ("mnist", "cifar100")]
        results += [
            f"{prior.folder}/{name}" for prior in grid.priors.values() for name in ("prior.json", "samples.png")
        ]
        results += [f"{prior.folder}/unet/diffusion_pytorch_model.safetensors" for prior in grid.priors.values()]
        for victim in sorted(victims.values(), key=lambda victim: stage_parts(victim.stage)[1]):
            results += [f"{victim.folder}/{name}" for name in ("model.safetensors", "history.csv", "train.json")]
        for name, run in grid.runs.items():
            made = ["metrics.csv", "run.json"]
            made += [] if run.KIND == "labels" else ["contact.png", "trace.csv", "images.npz"]
            results += [f"results/runs/{name}/{output}" for output in made]
        results += [paths.experiment(name) for name in grid.experiments]
        results += [paths.table(name, suffix) for name in grid.tables for suffix in paths.TABLE_SUFFIXES]
        results += [paths.figure(name, suffix) for name in grid.figures for suffix in paths.FIGURE_SUFFIXES]
        results += [paths.MACROS, paths.PAPER]
        for result in results:
            path = self.folder / result
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()


def planned(runs: int, repeats: int, finished: bool) -> Iterator[tuple[str, int, Cost]]:
    """Yield the call, the number of runs and the smallest cost for each grid."""
    for name, overlay in (("config.yaml", None), ("paper.yaml", None), ("synthetic", synthetic(runs))):
        with tempfile.TemporaryDirectory() as folder:
            scratch = Scratch(Path(folder))
            more = [] if name == "config.yaml" else [scratch.folder / f"config/{name}"]
            if overlay is not None:
                more = [scratch.folder / "synthetic.yaml"]
                more[0].write_text(yaml.safe_dump(overlay), encoding="utf-8")
            merging = ["--configfile", *map(str, more)] if more else []
            grid = read_grid([ROOT / "config/config.yaml", *more])
            dry_run = partial(scratch.snakemake, "--dry-run", *merging)
            yield name, len(grid.runs), _least(repeats, dry_run)
            if overlay is not None:
                make_plan = partial(scratch.call, "workflow/scripts/plan.py", *merging)
                yield f"{name}, make plan", len(grid.runs), _least(repeats, make_plan)
            if finished and overlay is not None:
                scratch.finish(grid)
                scratch.snakemake("--touch", *merging)
                yield f"{name}, done", len(grid.runs), _least(repeats, dry_run)


def _least(repeats: int, call: Callable[[], Cost]) -> Cost:
    costs = [call() for _ in range(repeats)]
    return Cost(*map(min, zip(*costs, strict=True)))


def main() -> None:
    """Measure and print; status 1 if the synthetic grid takes more than the target."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3000, help="size of the synthetic grid (default: 3000)")
    parser.add_argument("--repeats", type=int, default=3, help="dry runs of each grid (default: 3)")
    parser.add_argument(
        "--finished", action="store_true", help="also measure the dry run of a finished synthetic grid (minutes)"
    )
    options = parser.parse_args()
    print(f"{'grid':<22}{'runs':>6}{'user s':>9}{'system s':>10}{'wall s':>9}{'user ms/run':>13}{'of default':>12}")
    default, worst = 0.0, 0.0
    for name, runs, cost in planned(options.runs, options.repeats, options.finished):
        default = default or cost.user
        worst = max(worst, cost.user if name.startswith("synthetic") else 0.0)
        times = f"{cost.user:>9.2f}{cost.system:>10.2f}{cost.wall:>9.2f}{1000 * cost.user / runs:>13.2f}"
        print(f"{name:<22}{runs:>6}{times}{cost.user / default:>11.1f}x", flush=True)
    allowed = TARGET * options.runs / 3000
    print(f"target: {allowed:.1f} s user for {options.runs} runs: {'met' if worst <= allowed else 'MISSED'}")
    sys.exit(worst > allowed)


if __name__ == "__main__":
    main()
