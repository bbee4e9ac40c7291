"""Training of a small diffusion prior (Ho et al., NeurIPS 2020) on images that no client holds."""

import csv
import shutil
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from diffusers.models.unets.unet_2d import UNet2DModel
from diffusers.optimization import get_cosine_schedule_with_warmup
from diffusers.pipelines.ddpm.pipeline_ddpm import DDPMPipeline
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from diffusers.training_utils import EMAModel
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from gradleak import interrupts
from gradleak.attacks.diffusion.ids import image_ids
from gradleak.attacks.diffusion.prior import RECORD, SEEN
from gradleak.clients.round_inputs import draw_batch
from gradleak.data import datasets
from gradleak.data.base import ImageDataset
from gradleak.devices import choose_device
from gradleak.errors import InputError
from gradleak.pictures import sheet, write_image
from gradleak.plan.code import code_of
from gradleak.plan.jobs.diffusion import TrainPrior, avoided
from gradleak.provenance import Clock, write_sidecar
from gradleak.records import whole_file
from gradleak.streams import stream

INDEX = "model_index.json"
"""The file by which diffusers recognises the folder of a pipeline."""

_LOOK = 50
_SAMPLES = 16


@dataclass(frozen=True)
class Trained:
    """Result of a training.

    Attributes:
        folder: the prior, in the format of diffusers.
        images: the number of images that it was trained on.
        loss: mean of the last steps.
    """

    folder: Path
    images: int
    loss: float


def train(spec: TrainPrior) -> Trained:
    """Train a UNet2DModel to predict the noise in images [-1, 1] and write it where ``spec.folder`` says.

    Writes ``loss.csv``, ``samples.png``, ``seen.npy`` (the images it was trained on), ``prior.json`` and the diffusers
    folder, whose last file comes last. A killed training resumes from its last saved state.

    Raises:
        InputError: missing data, images that cannot be halved as often as the UNet needs, or no image left to learn
            from.
    """
    clock = Clock(code_of(spec))
    device = choose_device(spec.device)
    data = datasets.load(spec.dataset, split=spec.split, root=spec.data_root, download=spec.download)
    levels = 2 ** (len(spec.channels) - 1)
    if data.facts.image_size % levels:
        raise InputError(
            f"--channels {','.join(spec.channels)}: images of {data.facts.image_size} pixels cannot be halved "
            f"{len(spec.channels) - 1} times; give fewer widths"
        )
    allowed = _allowed(spec, data)
    if len(allowed) < spec.train_batch_size:
        raise InputError(
            f"{len(allowed)} images of {spec.dataset} ({spec.split}) are left to learn from; use a smaller --batch-size"
        )
    torch.manual_seed(int(stream("prior", spec.seed).integers(2**63)))
    run = _Run(spec, data, allowed, device)
    loss = run.go()
    run.write(clock, image_ids(spec.dataset, spec.split, allowed))
    return Trained(spec.folder, len(allowed), loss)


def _allowed(spec: TrainPrior, data: ImageDataset) -> Tensor:
    """Return the images that are in no avoided batch, [n] indices into the split."""
    held = [torch.empty(0, dtype=torch.int64)]
    for name in spec.avoid:
        victims, clients = avoided(name, spec.dataset)
        of_victims = datasets.load(spec.dataset, split=victims.split, root=spec.data_root)
        for trial in range(victims.num_tries):
            drawn = [draw_batch(victims, of_victims, trial, client) for client in range(clients)]
            held.append(image_ids(spec.dataset, victims.split, torch.cat(drawn)))
    all_ids = image_ids(spec.dataset, spec.split, torch.arange(len(data)))
    return (~torch.isin(all_ids, torch.cat(held))).nonzero()[:, 0]


class _Run:
    """The loop and its state."""

    def __init__(self, spec: TrainPrior, data: ImageDataset, allowed: Tensor, device: torch.device) -> None:
        self.spec, self.data, self.allowed, self.device = spec, data, allowed, device
        widths = tuple(int(width) for width in spec.channels)
        self.unet: Any = UNet2DModel(
            sample_size=data.facts.image_size,
            in_channels=data.facts.channels,
            out_channels=data.facts.channels,
            layers_per_block=spec.layers,
            block_out_channels=widths,
            down_block_types=("DownBlock2D",) * len(widths),
            up_block_types=("UpBlock2D",) * len(widths),
            norm_num_groups=8,
        )
        self.unet.to(device)
        self.is_coarse = spec.train_precision == "bfloat16"
        if self.is_coarse:
            self.unet.to(memory_format=torch.channels_last)
        self.schedule: Any = DDPMScheduler(num_train_timesteps=1000, clip_sample=True)
        self.optimizer = torch.optim.AdamW(self.unet.parameters(), lr=spec.lr)
        self.rate = get_cosine_schedule_with_warmup(self.optimizer, max(1, spec.steps // 20), spec.steps)
        self.average = EMAModel(self.unet.parameters(), decay=spec.ema)
        self.history: list[tuple[int, float]] = []
        self.mean = torch.tensor(data.facts.mean)[:, None, None]
        self.std = torch.tensor(data.facts.std)[:, None, None]
        # A training never resumes from a state that other code saved.
        self.state = spec.folder / f"state-{code_of(spec)}.pt"

    def go(self) -> float:
        first = self._resume()
        steps = range(first, self.spec.steps)
        bar = tqdm(steps, desc="training prior", unit="step", initial=first, total=self.spec.steps,
                   disable=not self.spec.progress, dynamic_ncols=True)  # fmt: skip
        total, count = 0.0, 0
        for step in bar:
            total, count = total + self._step(step), count + 1
            done = step + 1
            if done % _LOOK == 0 or done == self.spec.steps:
                self.history.append((done, total / count))
                bar.set_postfix_str(f"loss {total / count:.4f}", refresh=False)
                total, count = 0.0, 0
            if done % (10 * _LOOK) == 0 and done < self.spec.steps:
                self._save(done)
        return self.history[-1][1]

    def _step(self, step: int) -> float:
        """Take a step; draws are functions of seed and step, so a resumed training equals an uninterrupted one."""
        rng = stream("prior-step", self.spec.seed, step)
        chosen = self.allowed[torch.from_numpy(rng.integers(len(self.allowed), size=self.spec.train_batch_size))]
        images = ((self.data.fetch(chosen) * self.std + self.mean) * 2 - 1).to(self.device)
        noise = torch.from_numpy(rng.standard_normal(tuple(images.shape), dtype=np.float32)).to(self.device)
        times = torch.from_numpy(rng.integers(1000, size=len(images))).to(self.device)
        self.unet.train()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.is_coarse):
            guess = self.unet(self.schedule.add_noise(images, noise, times), times).sample
        loss = functional.mse_loss(guess.float(), noise)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.unet.parameters(), 1.0)
        self.optimizer.step()
        self.rate.step()
        self.average.step(self.unet.parameters())
        return float(loss.detach())

    def _save(self, done: int) -> None:
        parts = {name: getattr(self, name).state_dict() for name in ("unet", "optimizer", "rate", "average")}
        with whole_file(self.state) as temporary:
            torch.save({"step": done, "history": self.history, "images": self.allowed, **parts}, temporary)

    def _resume(self) -> int:
        if not self.state.is_file():
            return 0
        try:
            saved: dict[str, Any] = torch.load(self.state, map_location="cpu", weights_only=True)
        except Exception:  # a damaged state only costs time
            return 0
        if not torch.equal(saved["images"], self.allowed):
            return 0
        for name in ("unet", "optimizer", "rate", "average"):
            getattr(self, name).load_state_dict(saved[name])
        self.average.to(self.device)
        self.history = [(int(step), float(loss)) for step, loss in saved["history"]]
        return int(saved["step"])

    def write(self, clock: Clock, ids: Tensor) -> None:
        """Write the averaged weights in the format of diffusers, samples and losses.

        The index of the pipeline is written last, after the record of the training images: no prior loads without it.
        """
        self.average.copy_to(self.unet.parameters())
        self.unet.eval()
        folder = self.spec.folder
        write_image(folder / "samples.png", sheet([self._samples()]))
        with whole_file(folder / "loss.csv") as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(("step", "loss"))
            writer.writerows(self.history)
        with whole_file(folder / SEEN) as temporary, temporary.open("wb") as file:
            np.save(file, ids.numpy())
        with TemporaryDirectory(prefix=".", suffix=".part", dir=folder) as temporary:
            DDPMPipeline(unet=self.unet, scheduler=self.schedule).save_pretrained(temporary)
            with interrupts.held():
                for part in ("unet", "scheduler"):
                    shutil.rmtree(folder / part, ignore_errors=True)  # left by a killed training
                    Path(temporary, part).replace(folder / part)
                write_sidecar(
                    folder / RECORD, self.spec, clock, run=self.spec.run_id, device=str(self.device), images=len(ids),
                    loss=self.history[-1][1],
                )  # fmt: skip
                Path(temporary, INDEX).replace(folder / INDEX)
        self.state.unlink(missing_ok=True)

    @torch.no_grad()
    def _samples(self) -> Tensor:
        """Return images drawn from the prior in 50 steps of DDIM, [n, c, h, w] in [0, 1]."""
        scheduler: Any = DDIMScheduler.from_config(self.schedule.config)
        scheduler.set_timesteps(50)
        facts = self.data.facts
        shape = (_SAMPLES, facts.channels, facts.image_size, facts.image_size)
        drawn = stream("prior-samples", self.spec.seed).standard_normal(shape, dtype=np.float32)
        x = torch.from_numpy(drawn).to(self.device)
        for t in scheduler.timesteps:
            x = scheduler.step(self.unet(x, t).sample, t, x).prev_sample
        return ((x + 1) / 2).clamp(0, 1).cpu()
