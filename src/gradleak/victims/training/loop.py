"""One training, from spec to checkpoint."""

import csv
import math
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from gradleak.data import datasets
from gradleak.data.subsets import train_subset
from gradleak.devices import choose_device
from gradleak.errors import InputError
from gradleak.plan.code import code_of
from gradleak.plan.jobs.training import TrainVictim
from gradleak.plan.names import shortest
from gradleak.provenance import Clock, write_sidecar
from gradleak.records import whole_file
from gradleak.victims import checkpoints
from gradleak.victims.chunks import chunk_size
from gradleak.victims.models.base import Victim
from gradleak.victims.models.build import build
from gradleak.victims.training import state as states
from gradleak.victims.training.images import Images, order, step_seed
from gradleak.victims.training.schedule import Plan, learning_rate, plan
from gradleak.victims.training.state import State

_LOOK = 50
"""Steps between two checks of the loss; a check waits for the device."""

_PAUSE = 20.0
"""Seconds between two saved states on a GPU, where an epoch can take less time than writing a state."""


@dataclass(frozen=True)
class Trained:
    """What a training gives.

    Attributes:
        weights: the checkpoint.
        steps: steps of the training up to the stage.
        accuracy: share of the validation images that are classified correctly.
        loss: mean cross-entropy over the validation images.
        train_loss: mean loss of the last steps.
        device: where it ran.
        resumed_from: steps done by an earlier process.
    """

    weights: Path
    steps: int
    accuracy: float
    loss: float
    train_loss: float
    device: str
    resumed_from: int


def train(spec: TrainVictim) -> Trained:
    """Train a victim on the train split up to its stage and write its checkpoint, sidecar and history.

    Writes into ``spec.folder``: ``model.safetensors`` (last, so that its presence means success), ``train.json``,
    ``history.csv`` (step, epoch, split, metric, value), and, until the end, the state from which a killed training
    resumes. On the CPU a resumed training is bit-identical to an uninterrupted one with the same number of threads. A
    stage before the end of a shared schedule keeps its state, from which a later stage continues.

    Each epoch is a new permutation of the images in use (``spec.train_images``, all by default) in batches of
    ``spec.train_batch_size``; an incomplete last batch is dropped. With ``spec.train_precision`` bfloat16 the
    forward pass is autocast, channels last; the accuracy is always that of the float32 model in eval mode.

    Recipe: Ma et al. 2023 (released iLRG code): SGD with Nesterov momentum 0.9, see :class:`TrainingOptions`.

    Raises:
        InputError: missing data, options that the data cannot satisfy, or a loss that is no longer finite.
    """
    clock = Clock(code_of(spec))
    device = choose_device(spec.device)
    parts = [
        datasets.load(spec.dataset, split=split, root=spec.data_root, download=spec.download)
        for split in ("train", "val")
    ]
    among = train_subset(parts[0], spec.train_images)
    steps = plan(spec, len(among))
    model = build(
        spec.model,
        num_classes=parts[0].num_classes,
        channels=parts[0].facts.channels,
        image_size=parts[0].facts.image_size,
        seed=spec.seed,
        **spec.model_options(),
    ).to(device)
    layout = torch.channels_last if spec.train_precision == "bfloat16" else torch.contiguous_format
    model = model.to(memory_format=layout)
    images, held_out = (Images(part, device, layout) for part in parts)
    runner = _Runner(spec, steps, model, images, among, held_out, chunk_size(parts[1].facts.image_size), device)
    # The caller's generators are restored; dropout draws from the global ones.
    gpus = [torch.cuda.current_device()] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=gpus):
        runner.run()
    return _finish(spec, runner, clock)


class _Runner:
    """The loop and its state."""

    def __init__(
        self,
        spec: TrainVictim,
        steps: Plan,
        model: Victim,
        images: Images,
        among: Tensor,
        held_out: Images,
        chunk: int,
        device: torch.device,
    ):
        self.spec, self.plan, self.model, self.device = spec, steps, model, device
        self.images, self.among, self.held_out, self.chunk = images, among, held_out, chunk
        self.optimizer = _optimizer(spec, model)
        self.loss_sum = torch.zeros((), dtype=torch.float64, device=device)
        self.history: list[tuple[int, str, str, float]] = []
        self.resumed_from = 0
        self.pause = _PAUSE if device.type == "cuda" else 0.0
        self.saved = time.perf_counter()
        self.dropout = any(isinstance(module, nn.Dropout) for module in model.modules())
        self.path = states.state_path(spec)

    def run(self) -> None:
        self._resume()
        shown = tqdm(
            total=self.plan.stop,
            initial=self.resumed_from,
            desc=f"training to {self.spec.stage}",
            unit="step",
            disable=not self.spec.progress,
            dynamic_ncols=True,
        )
        permutation = torch.empty(0, dtype=torch.int64)
        self.model.train()
        with shown:
            for step in range(self.resumed_from, self.plan.stop):
                epoch, position = divmod(step, self.plan.steps_per_epoch)
                if position == 0 or not len(permutation):
                    permutation = self.among[order(self.spec.dataset, self.spec.seed, epoch, len(self.among))]
                first = position * self.spec.train_batch_size
                loss = self._step(step, permutation[first : first + self.spec.train_batch_size])
                self.loss_sum += loss
                done = step + 1
                if done % _LOOK == 0 or done == self.plan.stop:
                    shown.set_postfix_str(f"loss {self._finite(float(loss), done):.3f}", refresh=False)
                if done % self.plan.every == 0:
                    self._note(done)
                    if done < self.plan.stop and time.perf_counter() - self.saved >= self.pause:
                        self._save(done)
                shown.update()
        if self.spec.schedule == "shared":
            self._save(self.plan.stop)
        if self.plan.stop % self.plan.every:
            self._note(self.plan.stop)
        self.model.eval()

    def _step(self, step: int, indices: Tensor) -> Tensor:
        """Take one step of the optimiser and return its loss, a scalar on the device."""
        seed = self.spec.seed
        images, labels = self.images.batch(indices, step_seed("augment", seed, step) if self.spec.augment else None)
        if self.dropout:
            torch.manual_seed(step_seed("dropout", seed, step))
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.spec, step, self.plan.total)
        self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.spec.train_precision == "bfloat16"):
            loss = functional.cross_entropy(self.model(images), labels)
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def _note(self, done: int) -> None:
        """Add the losses and the accuracy after ``done`` steps to the history."""
        count = done % self.plan.every or self.plan.every
        train_loss = self._finite(float(self.loss_sum) / count, done)
        self.loss_sum.zero_()
        loss, accuracy = _evaluate(self.model, self.held_out, self.chunk)
        self._finite(loss, done)
        self.history += [
            (done, "train", "loss", train_loss),
            (done, "val", "loss", loss),
            (done, "val", "accuracy", accuracy),
        ]
        self.model.train()

    def _finite(self, loss: float, done: int) -> float:
        if math.isfinite(loss):
            return loss
        self.path.unlink(missing_ok=True)
        raise InputError(
            f"the training of {self.spec.run_id} diverged: loss {loss} by step {done}; lower --lr "
            f"({shortest(self.spec.lr)}) or add --warmup"
        )

    def _save(self, done: int) -> None:
        states.save(
            State(
                done,
                len(self.among),
                float(self.loss_sum),
                self.history,
                self.model.state_dict(),
                self.optimizer.state_dict(),
            ),
            self.path,
        )
        self.saved = time.perf_counter()

    def _resume(self) -> None:
        state = states.newest(self.spec, stop=self.plan.stop, num_images=len(self.among))
        if state is None:
            return
        self.model.load_state_dict(state.model)
        self.optimizer.load_state_dict(state.optimizer)
        self.loss_sum.fill_(state.loss_sum)
        self.history = state.history
        self.resumed_from = state.step
        print(f"resuming at step {state.step} of {self.plan.stop}", file=sys.stderr)


def _optimizer(spec: TrainVictim, model: nn.Module) -> torch.optim.Optimizer:
    if spec.optimizer == "AdamW":
        return torch.optim.AdamW(model.parameters(), lr=spec.lr, weight_decay=spec.weight_decay)
    return torch.optim.SGD(model.parameters(), lr=spec.lr, momentum=0.9, nesterov=True, weight_decay=spec.weight_decay)


@torch.inference_mode()
def _evaluate(model: Victim, images: Images, chunk: int) -> tuple[float, float]:
    """Return mean cross-entropy and accuracy of the model in eval mode."""
    model.eval()
    loss = right = torch.zeros((), dtype=torch.float64)
    for batch, labels in images.in_order(chunk):
        logits = model(batch).float()
        loss = loss + functional.cross_entropy(logits, labels, reduction="sum").double().cpu()
        right = right + (logits.argmax(1) == labels).sum().cpu()
    return float(loss) / len(images), float(right) / len(images)


def _finish(spec: TrainVictim, runner: _Runner, clock: Clock) -> Trained:
    """Write the results, the checkpoint last, and delete the state if it is no longer needed."""
    (*_, train_loss), (*_, loss), (*_, accuracy) = runner.history[-3:]
    trained = Trained(
        spec.weights,
        runner.plan.stop,
        accuracy,
        loss,
        train_loss,
        str(runner.device),
        runner.resumed_from,
    )
    write_history(spec.folder / "history.csv", runner.history, runner.plan.steps_per_epoch)
    write_sidecar(
        spec.sidecar,
        spec,
        clock,
        run=spec.run_id,
        device=trained.device,
        steps=trained.steps,
        accuracy=accuracy,
        loss=loss,
        resumed_from=trained.resumed_from,
    )
    checkpoints.save(runner.model, spec.weights)
    if spec.schedule == "per-stage":
        runner.path.unlink(missing_ok=True)
    return trained


def write_history(path: Path, history: list[tuple[int, str, str, float]], steps_per_epoch: int) -> None:
    """Write the history as CSV (step, epoch, split, metric, value), atomically."""
    with whole_file(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("step", "epoch", "split", "metric", "value"))
        for step, split, metric, value in history:
            writer.writerow((step, round(step / steps_per_epoch, 4), split, metric, value))
