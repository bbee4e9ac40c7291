"""Exact inversion of many batches: what it recovers and certifies, and how long it takes.

python bench/exact_inversion.py mnist --data-root data --results exact.csv

Every batch is one line of the CSV, written when it is done; the same command goes on where it was stopped.
"""

import argparse
import math
import time
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from gradleak.attacks.exact.inversion import Inversion
from gradleak.attacks.exact.observed import Seen, see
from gradleak.attacks.labels.consistency import counts_of
from gradleak.attacks.labels.ilrg import ilrg
from gradleak.clients.observation import Observation, observe_full
from gradleak.clients.round_inputs import draw_batch, make_victim
from gradleak.data import datasets
from gradleak.devices import choose_device
from gradleak.metrics.images import distances, first_inputs, nearest_error
from gradleak.plan.jobs.labels import RestoreLabels
from gradleak.victims.training import train

MNIST = {"dataset": "mnist", "model": "fcn"}
CIFAR = {"dataset": "cifar100"}
MEMORISED = {"stage": "epoch18", "train_images": 5000, "schedule": "shared", "length": "epoch18", "lr": 0.05}

FOUND = 1e-2
"""Relative error up to which an input counts as recovered."""


def cells(part: str) -> Iterator[dict[str, Any]]:
    """Yield what is attacked in a part, as options of a job."""
    if part == "mnist":
        for stage, size in product(("untrained", "iter100", "iter1000"), (8, 16, 32, 50, 64, 100)):
            yield {**MNIST, "stage": stage, "batch_size": size, "num_tries": 20}
    if part == "activations":
        for activation, size in product(("relu", "silu", "gelu", "sigmoid"), (64, 100, 115, 128, 140)):
            yield {**MNIST, "activation": activation, "batch_size": size, "num_tries": 5}
    if part == "width":
        for width, sizes in ((100, (16, 32, 40, 48)), (1000, (100, 200, 300))):
            for size in sizes:
                yield {**MNIST, "n_dim": width, "batch_size": size, "num_tries": 5}
    if part == "depth":
        for depth, size in product((0, 1, 2, 3, 4), (4, 8, 32, 64, 100)):
            yield {**MNIST, "n_hidden": depth, "batch_size": size, "num_tries": 5}
    if part == "tail":
        for size in (8, 16, 32, 48, 56, 64):
            yield {**CIFAR, "model": "lenet5", "batch_size": size, "num_tries": 5}
        for stage, size in product(({}, {"stage": "epoch1"}, {"stage": "epoch3"}, MEMORISED), (16, 64, 128)):
            yield {**CIFAR, "model": "cnn3", **stage, "batch_size": size, "num_tries": 5}
    if part == "head":
        for model, size in product(("cnn3", "pooled_cnn", "resnet18"), (8, 16, 24, 32, 40)):
            yield {**CIFAR, "model": model, "batch_size": size, "num_tries": 5, "head": True}


PARTS = ("mnist", "activations", "width", "depth", "tail", "head")


def main() -> None:
    """Attack the batches of a part, and print a line for each cell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--data-root", type=Path, default=Path("data"), help="folder of the full data sets")
    parser.add_argument("--checkpoint-dir", type=Path, default=Path("results/checkpoints"))
    parser.add_argument("--results", type=Path, default=Path("exact_inversion.csv"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3], help="seeds of the victims")
    parser.add_argument("--tries", type=int, help="batches of each victim (default: those of the part)")
    parser.add_argument("--stage", help="this stage alone")
    parser.add_argument("--batch-size", type=int, nargs="+", help="these batch sizes alone")
    given = parser.parse_args()
    done = pd.read_csv(given.results).to_dict("records") if given.results.exists() else []
    known = {(line["cell"], line["seed"], line["trial"]) for line in done}
    for options in cells(given.part):
        if given.stage not in (None, options.get("stage", "untrained")):
            continue
        if given.batch_size is not None and options["batch_size"] not in given.batch_size:
            continue
        head = options.pop("head", False)
        options["num_tries"] = given.tries or options["num_tries"]
        for seed in given.seeds:
            spec = RestoreLabels(
                **options, data_root=given.data_root, checkpoint_dir=given.checkpoint_dir, model_seed=seed, device="cpu"
            )
            cell = f"{spec.dataset} {spec.model_id} {spec.stage} B={spec.batch_size}{' head' if head else ''}"
            trials = [trial for trial in range(spec.num_tries) if (cell, seed, trial) not in known]
            for line in attack(spec, trials, head=head):
                done.append({"cell": cell, "batch_size": spec.batch_size, "seed": seed, **line})
                pd.DataFrame(done).to_csv(given.results, index=False)
    print(summary(pd.DataFrame(done)).to_string())


def attack(spec: RestoreLabels, trials: list[int], *, head: bool) -> Iterator[dict[str, Any]]:
    """Yield what exact inversion makes of each batch, beside iLRG on the same gradient."""
    if not trials:
        return
    victim = spec.victim()
    if victim is not None and not victim.weights.exists():
        train(victim)
    data = datasets.load(spec.dataset, split=spec.split, root=spec.data_root, download=False)
    device = choose_device(spec.device)
    model = make_victim(spec, data).to(device)
    for trial in tqdm(trials, desc=f"{spec.model_id} {spec.stage} B={spec.batch_size} seed {spec.model_seed}"):
        chosen = draw_batch(spec, data, trial)
        images, labels = data.fetch(chosen).to(device), data.labels[chosen].to(device)
        observation = observe_full(model, images, labels)
        begin = time.perf_counter()
        whole = see(observation)
        seen = whole.head() if head else whole
        inversion = seen.invert(spec.batch_size)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds = time.perf_counter() - begin
        first = first_inputs(model, images).to(device).double()
        truth = whole.network.forward(first).inputs[seen.first - whole.first]
        line = {"trial": trial, "images": len(labels), "seconds": seconds, "kind": inversion.kind}
        yield {**line, **judged(truth, labels, inversion), **counted(observation, seen, inversion, labels)}


def judged(truth: Tensor, labels: Tensor, inversion: Inversion) -> dict[str, Any]:
    """Return how many inputs [B, in] were recovered, with their labels [B], and how many certificates are false."""
    errors = distances(inversion.inputs, truth) / truth.norm(dim=1)
    own, nearest = errors.min(1) if len(errors) else (errors.new_zeros(0), labels[:0])
    of_inputs, of_labels = inversion.inputs_certified, inversion.labels_certified
    wrong = inversion.labels != labels[nearest]
    false = (of_inputs & ((own > inversion.error) | wrong)) | (of_labels & wrong)
    error = nearest_error(truth, inversion.inputs)
    certified = nearest_error(truth, inversion.inputs[of_inputs]) <= FOUND
    return {
        "recovered": int((error <= FOUND).sum()),
        "certified": int(certified.sum()),
        "false": int(false.sum()),
        "relative_error": float(error[error <= FOUND].median()) if bool((error <= FOUND).any()) else math.nan,
    }


def counted(observation: Observation, seen: Seen, inversion: Inversion, labels: Tensor) -> dict[str, float]:
    """Return how well the class counts are restored: by exact inversion with iLRG for the rest, and by iLRG alone."""
    truth = torch.bincount(labels.cpu(), minlength=seen.network.num_classes)
    values: dict[str, float] = {}
    for name, guess in (("", counts_of(observation, seen, inversion)), ("ilrg_", ilrg(observation))):
        assert guess.counts is not None
        values[f"{name}exact_match"] = float((guess.counts == truth).all())
        values[f"{name}lnacc"] = float((guess.counts == truth).double().mean())
    return values


def summary(lines: pd.DataFrame) -> pd.DataFrame:
    """Return a line for each cell: sums of images, medians of errors and seconds, means of the label metrics."""
    sums = dict.fromkeys(("images", "recovered", "certified", "false"), "sum")
    means = dict.fromkeys(("exact_match", "lnacc", "ilrg_exact_match", "ilrg_lnacc"), "mean")
    medians = dict.fromkeys(("relative_error", "seconds"), "median")
    return lines.groupby("cell", sort=False).agg({"trial": "size", **sums, **medians, **means})


if __name__ == "__main__":
    main()
