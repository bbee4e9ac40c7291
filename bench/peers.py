"""Comparison with ``breaching`` (0.1.2): speed and results on the same victims and batches.

Both run alternately (A, B, A, B, ...) in this process, with the same torch on one thread. Times are CPU seconds of the
process and results are ratios, so other load on the machine matters little. ``breaching`` and its additional
dependencies are installed into a separate folder, never into the project's environment. Data are the packaged samples;
weights are random.

Images: the attack of Geiping et al. (NeurIPS 2020) as implemented in both: cosine, signed Adam at 0.1 with steps, total
variation, a box, given labels, the same start. Labels: all of their strategies and all of our methods on equal batches.
"""

import argparse
import contextlib
import io
import logging
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from gradleak.attacks.images.engine import Matching, reconstruct
from gradleak.attacks.images.problem import Found, Problem
from gradleak.attacks.labels.base import build as build_method
from gradleak.clients.client import Client
from gradleak.clients.local_training import LocalTraining
from gradleak.clients.observation import Observation
from gradleak.data import datasets
from gradleak.data.base import ImageDataset
from gradleak.victims.models.base import Victim
from gradleak.victims.models.build import build as build_model

PACKAGES = (
    "breaching==0.1.2",
    "hydra-core==1.3.2",
    "omegaconf==2.3.0",
    "antlr4-python3-runtime==4.9.3",
    "lpips==0.1.4",
)
"""Their dependencies, without torch and other packages that this project already has."""

STRATEGIES = ("iDLG", "analytic", "yin", "wainakh-simple", "wainakh-whitebox", "bias-corrected")
METHODS = ("idlg", "gi", "rlg", "ilrg")
TV = 0.2
CPU = torch.device("cpu")


def install(folder: Path) -> bool:
    """Install the peers into ``folder`` unless there, append it to Python's path, and return whether that worked."""
    if not (folder / "breaching").is_dir():
        uv = shutil.which("uv")
        installer = [uv, "pip", "install"] if uv else [sys.executable, "-m", "pip", "install"]
        command = [*installer, "--quiet", "--no-deps", "--target", str(folder), *PACKAGES]
        if subprocess.run(command, check=False).returncode:
            return False
    sys.path.append(str(folder))
    return True


class Peer:
    """An attack of ``breaching`` with exactly the same information as ours.

    Args:
        model: the victim.
        data: the data set of the images, for shape and normalisation.
        settings: dotted settings of its configuration for gradient inversion.
        device: that of the model.
    """

    def __init__(self, model: Victim, data: ImageDataset, settings: list[str], device: torch.device = CPU) -> None:
        import breaching  # pyright: ignore[reportMissingImports]

        with contextlib.redirect_stdout(io.StringIO()):
            self.config = breaching.get_attack_config("invertinggradients", overrides=settings)
        setup = {"device": device, "dtype": torch.float32}
        loss = torch.nn.CrossEntropyLoss()
        self.attacker = breaching.attacks.prepare_attack(model, loss, self.config, setup)
        facts = data.facts
        shape = (facts.channels, facts.image_size, facts.image_size)
        about = SimpleNamespace(shape=shape, mean=facts.mean, std=facts.std, modality="vision")
        parameters, buffers = [p.detach() for p in model.parameters()], list(model.buffers())
        self.payload = [{"parameters": parameters, "buffers": buffers, "metadata": about}]
        nothing = self.shared([torch.zeros_like(p) for p in parameters], 1, torch.zeros(1, dtype=torch.int64))
        self.attacker.prepare_attack(self.payload, nothing)
        self.models = self.attacker._rec_models

    def shared(self, gradients: list[Tensor], count: int, labels: Tensor | None) -> list[dict[str, Any]]:
        """Return what the client sends."""
        about = {"num_data_points": count, "labels": labels, "local_hyperparams": None}
        return [{"gradients": [g.clone() for g in gradients], "buffers": None, "metadata": about}]

    def images(self, gradients: list[Tensor], labels: Tensor, start: Tensor | None) -> Tensor:
        """Return the reconstruction [n, c, h, w]."""
        sent = self.shared(gradients, len(labels), labels)
        return self.attacker.reconstruct(self.payload, sent, {}, initial_data=start)[0]["data"]

    def labels(self, gradients: list[Tensor], count: int) -> Tensor:
        """Return the labels [count] that its strategy restores, from a previously copied model."""
        with contextlib.redirect_stdout(io.StringIO()):
            sent = self.shared(gradients, count, None)
            return self.attacker._recover_label_information(sent, self.payload, self.models)


def timed(work: Callable[[], Tensor], device: torch.device = CPU) -> tuple[float, Tensor]:
    """Return the seconds and the result of a call: CPU seconds or, on a GPU, wall time until it is idle."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        begin = time.perf_counter()
        result = work()
        torch.cuda.synchronize(device)
        return time.perf_counter() - begin, result
    begin = time.process_time()
    result = work()
    return time.process_time() - begin, result


def spread(values: list[float], form: str) -> str:
    """Return median, smallest and largest."""
    return f"{statistics.median(values):{form}} ({min(values):{form}} to {max(values):{form}})"


def psnr(data: ImageDataset, guess: Tensor, truth: Tensor) -> float:
    """Return the mean over the images, whose order is known from the given labels, on the scale where white is 1."""
    std = torch.tensor(data.facts.std, device=truth.device).reshape(-1, 1, 1)
    error = ((guess - truth) * std).square().flatten(1).mean(1)
    return float((-10 * error.log10()).mean())


@dataclass(frozen=True)
class Attack:
    """What both programs reconstruct.

    Attributes:
        model: kind of the victim, with random weights.
        batch: images of a batch.
        restarts: starts of each.
        iterations: of each start.
        data: the data set.
        device: where both run.
    """

    model: str
    batch: int
    restarts: int
    iterations: int
    data: ImageDataset
    device: torch.device = CPU


def reconstructed(attack: Attack, pairs: Sequence[int], *, beside: bool = True) -> Iterator[dict[str, Any]]:
    """Reconstruct batches by one program and then the other, and yield times and results of each batch.

    Args:
        attack: what is reconstructed.
        pairs: numbers of the batches.
        beside: whether ``breaching`` is installed.

    Yields:
        The number of the pair; milliseconds per iteration and PSNR in dB of both, those of ``breaching`` None without
        it.
    """
    data, device, restarts, iterations = attack.data, attack.device, attack.restarts, attack.iterations
    facts = data.facts
    model = build_model(attack.model, num_classes=data.num_classes, channels=3, image_size=facts.image_size, seed=1)
    model = model.to(device)
    client = Client(model, LocalTraining())
    settings = [f"optim.max_iterations={iterations}", f"restarts.num_trials={restarts}"]
    settings += [f"regularization.total_variation.scale={TV}", "optim.callback=1000000"]
    peer = Peer(model, data, settings, device) if beside else None
    matching = Matching(
        objective="sim",
        optimizer="adam",
        lr=0.1,
        schedule="step",
        iterations=iterations,
        signed=True,
        boxed=True,
        tv_weight=TV,
        log_every=iterations,
    )
    mean, std = (torch.tensor(values, device=device).reshape(-1, 1, 1) for values in (facts.mean, facts.std))
    for pair in (-1, *pairs):  # the first warms both up
        generator = torch.Generator().manual_seed(1000 + pair)
        # Distinct labels, so that images have an order.
        distinct = torch.tensor([data.labels.tolist().index(label) for label in data.labels.unique().tolist()])
        chosen = distinct[torch.randperm(len(distinct), generator=generator)[: attack.batch]]
        images, labels = data.fetch(chosen).to(device), data.labels[chosen].to(device)
        targets = one_hot(labels, data.num_classes).float()[None]
        observed = client.send_many(images[None], targets)
        start = torch.randn(1, restarts, *images.shape, generator=generator).to(device)
        logits = torch.zeros(1, restarts, *targets.shape[1:], device=device)
        problem = Problem(client, observed, start, targets, logits, -mean / std, (1 - mean) / std)
        torch.manual_seed(pair + 1)
        seconds, found = timed(lambda problem=problem: _whole(reconstruct(problem, matching)), device)
        line = {"pair": pair, "ms": 1000 * seconds / iterations, "psnr": psnr(data, found, images)}
        line |= {"breaching_ms": None, "breaching_psnr": None}
        if peer is not None:
            gradients = [g[0] for g in observed]
            one = start[0, 0] if restarts == 1 else None  # otherwise all of its trials would have the same start
            seconds, found = timed(lambda g=gradients, y=labels, s=one: peer.images(g, y, s), device)
            line |= {"breaching_ms": 1000 * seconds / iterations, "breaching_psnr": psnr(data, found, images)}
        if pair >= 0:
            yield line


def _whole(found: Found) -> Tensor:
    """Return the images [n, c, h, w] of one problem, unless the user stopped it: then its time says nothing."""
    if found.interrupted:
        raise KeyboardInterrupt
    return found.images[0]


def compare_images(attack: Attack, pairs: int) -> None:
    """Alternate both attacks on new batches and print times per iteration, their ratio, and PSNR."""
    lines = list(reconstructed(attack, range(pairs)))
    ours, theirs, mine, other = (
        [line[name] for line in lines] for name in ("ms", "breaching_ms", "psnr", "breaching_psnr")
    )
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    print(
        f"{attack.model}, B={attack.batch}, restarts {attack.restarts}, {attack.iterations} iterations, {pairs} pairs"
    )
    print(f"  ms per iteration, gradleak   {spread(ours, '.2f')}, PSNR {spread(mine, '.2f')} dB")
    print(f"  ms per iteration, breaching  {spread(theirs, '.2f')}, PSNR {spread(other, '.2f')} dB")
    print(f"  time, gradleak / breaching   {spread(ratios, '.3f')}", flush=True)


def scores(presence: Tensor, counts: Tensor | None, truth: Tensor) -> tuple[float, float]:
    """Return class accuracy (present or not) and instance recall, NaN without counts."""
    found = float("nan") if counts is None else float(torch.minimum(counts, truth).sum() / truth.sum())
    return float((presence == (truth > 0)).float().mean()), found


def compare_labels(dataset: str, name: str, *, batch: int, tries: int) -> None:
    """Restore the labels of the same batches by all methods, and print accuracy and time."""
    data = datasets.load(dataset)
    C, facts = data.num_classes, data.facts
    model = build_model(name, num_classes=C, channels=facts.channels, image_size=facts.image_size, seed=1)
    client = Client(model, LocalTraining())
    peers = {name: Peer(model, data, [f"label_strategy={name}"]) for name in STRATEGIES}
    methods = {name: build_method(name) for name in METHODS}
    results: dict[str, list[tuple[float, float, float]]] = {}
    failed: dict[str, str] = {}
    for trial in range(tries):
        generator = torch.Generator().manual_seed(trial)
        chosen = torch.randint(len(data), (batch,), generator=generator)
        labels = data.labels[chosen]
        truth = torch.bincount(labels, minlength=C)
        targets = one_hot(labels, C).float()
        gradients = [g.detach() for g in client.send(data.fetch(chosen), targets)]
        named = dict(zip(client.names, gradients, strict=True))
        for method, restore in methods.items():
            begin = time.process_time()
            guess = restore(Observation(gradients=named, model=model, batch_size=batch))
            seconds = time.process_time() - begin
            right = scores(guess.presence, guess.counts, truth)
            results.setdefault(f"gradleak {method}", []).append((*right, seconds))
        for strategy, peer in peers.items():
            torch.manual_seed(trial)  # it pads unknown labels at random
            try:
                seconds, restored = timed(lambda peer=peer, g=gradients: peer.labels(g, batch))
            except Exception as error:
                failed[strategy] = str(error).splitlines()[0]
                continue
            counts = torch.bincount(restored.flatten(), minlength=C)
            results.setdefault(f"breaching {strategy}", []).append((*scores(counts > 0, counts, truth), seconds))
    print(f"labels: {dataset}, {name}, B={batch}, {tries} batches")
    print(f"  {'method':<28}{'LeAcc':>8}{'IRec':>8}{'median ms':>12}")
    for method, values in results.items():
        classes, instances, seconds = (list(column) for column in zip(*values, strict=True))
        row = f"{statistics.mean(classes):>8.3f}{statistics.mean(instances):>8.3f}"
        print(f"  {method:<28}{row}{1000 * statistics.median(seconds):>12.2f}")
    for strategy, reason in failed.items():
        print(f"  breaching {strategy} fails: {reason}")


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", type=Path, help="folder for the peers (default: a temporary one)")
    parser.add_argument("--iterations", type=int, default=200, help="iterations of the image attack (default: 200)")
    parser.add_argument("--pairs", type=int, default=5, help="pairs of timed calls, at least 3 (default: 5)")
    parser.add_argument("--tries", type=int, default=50, help="number of batches for label restoration (default: 50)")
    options = parser.parse_args()
    if options.pairs < 3:
        parser.error("--pairs must be at least 3")
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as scratch:
        if not install(options.peers or Path(scratch)):
            raise SystemExit("peers.py: breaching cannot be installed here; nothing was compared")
        sample = datasets.load("cifar100-sample")
        for name, batch, restarts in (("lenet5", 1, 1), ("lenet5", 8, 1), ("lenet5", 1, 8), ("resnet18", 4, 1)):
            iterations = options.iterations if name == "lenet5" else max(1, options.iterations // 10)
            compare_images(Attack(name, batch, restarts, iterations, sample), options.pairs)
        for dataset, name, batch in (("mnist-sample", "fcn", 24), ("cifar100-sample", "lenet5", 16)):
            compare_labels(dataset, name, batch=batch, tries=options.tries)


if __name__ == "__main__":
    main()
