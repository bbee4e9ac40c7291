"""Diffusion priors: loaded from diffusers folders or the hub, checked against the data, and used to predict noise."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch
from diffusers.models.unets.unet_2d import UNet2DModel
from diffusers.pipelines.ddpm.pipeline_ddpm import DDPMPipeline
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from diffusers.utils.logging import disable_progress_bar
from torch import Tensor

from gradleak.errors import InputError
from gradleak.sidecars import read_sidecar

RECORD = "prior.json"
"""Record beside a prior that gradleak trained: spec, provenance, loss."""

SEEN = "seen.npy"
"""File beside it with the images that it was trained on, see :func:`gradleak.attacks.diffusion.ids.image_ids`."""

_SCHEDULERS = {
    "ddpm": "DDPMScheduler",
    "ddim": "DDIMScheduler",
    "dpmpp": "DPMSolverMultistepScheduler",
    "euler": "EulerDiscreteScheduler",
    "euler-ancestral": "EulerAncestralDiscreteScheduler",
}


@dataclass(frozen=True)
class Prior:
    """A diffusion model of images in [-1, 1].

    Attributes:
        unet: predicts the noise.
        schedule: the noise schedule of its training.
        source: its folder or hub id.
        dataset: the data set that gradleak trained it on; None for foreign priors.
        seen: the images that it was trained on; None if unknown.
    """

    unet: UNet2DModel
    schedule: DDPMScheduler
    source: str
    dataset: str | None = None
    seen: Tensor | None = None

    def scheduler(self, name: str, steps: int) -> Any:
        """Return a scheduler of diffusers by name, set to a number of steps."""
        made = getattr(diffusers, _SCHEDULERS[name]).from_config(self.schedule.config)
        made.set_timesteps(steps)
        return made

    def noise(self, x: Tensor, t: Tensor | int) -> Tensor:
        """Return the noise that the model predicts in x [n, c, h, w] at time t."""
        return self.unet(x, t).sample


def load_prior(source: str, *, channels: int, image_size: int, device: torch.device) -> Prior:
    """Load a prior and check that it fits the images.

    Args:
        source: a folder as diffusers writes it, or the id of a model on the Hugging Face hub.
        channels: channels of the images.
        image_size: height and width of the images in pixels.
        device: where it runs.

    Raises:
        InputError: it cannot be found or downloaded, is not a diffusion model, or is for other images.
    """
    folder = Path(source)
    if not folder.is_dir() and (folder.is_absolute() or source.startswith(".") or source.count("/") != 1):
        raise InputError(f"--prior {source}: no such folder; train one with train_prior.py, or name a model of the hub")
    disable_progress_bar()
    try:
        # Fast loading needs another package, and prints a message without it.
        options = {"low_cpu_mem_usage": False, "local_files_only": folder.is_dir()}
        pipeline: Any = DDPMPipeline.from_pretrained(source, **options)
    except Exception as error:  # diffusers and the hub's client fail with errors of many types
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:120]
        what = "is not a diffusers folder of a DDPM" if folder.is_dir() else "cannot be downloaded from the hub"
        raise InputError(f"--prior {source}: {what} ({reason}); give a local folder, see train_prior.py") from error
    unet, schedule = pipeline.unet, pipeline.scheduler
    if unet.config["in_channels"] != channels:
        raise InputError(
            f"--prior {source}: is for images of {unet.config['in_channels']} channels; these have {channels}"
        )
    size = unet.config["sample_size"]
    if size not in (None, image_size):
        raise InputError(f"--prior {source}: is for images of {size} x {size} pixels; these have {image_size}")
    unet.requires_grad_(False)
    return Prior(unet.eval().to(device), schedule, source, *learnt(folder))


def learnt(folder: Path) -> tuple[str, Tensor] | tuple[None, None]:
    """Return the data set and the images that gradleak trained a prior on; None for foreign priors.

    Raises:
        InputError: one of the two files of a prior trained by gradleak is missing or damaged: a prior that may have
            seen the clients' images must not pass for a foreign one.
    """
    if not any((folder / name).is_file() for name in (RECORD, SEEN)):
        return None, None
    try:
        record, seen = read_sidecar(folder / RECORD), np.load(folder / SEEN)
        if seen.dtype != np.int64 or seen.ndim != 1 or len(seen) != record.get("images"):
            raise ValueError(f"{SEEN} does not number the {record.get('images')} images")
        return str(record["spec"]["dataset"]), torch.from_numpy(seen)
    except (OSError, EOFError, ValueError, TypeError, KeyError) as error:
        raise InputError(
            f"--prior {folder}: {RECORD} and {SEEN} do not say which images it was trained on "
            f"({' '.join(str(error).split())}); delete the folder and train it again"
        ) from error
