"""Options of diffusion-guided reconstruction, and of the training of its prior."""

import re
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from gradleak.plan.jobs.images import ImageAttack
from gradleak.plan.jobs.options import (
    TRAIN_PRECISION,
    BatchOptions,
    DatasetOptions,
    RuntimeOptions,
    TrainPrecision,
)
from gradleak.plan.jobs.spec import Names, runtime

_BATCHES = re.compile(
    r"([a-z_0-9]+(?:-\d+)?)-B(\d+)-clients(\d+)-tries(\d+)-seed(\d+)(?:-of(\d+))?-(train|val|all)", re.ASCII
)


def batches_id(spec: ImageAttack) -> str:
    """Return the name that makes a prior leave out the images of a run's clients."""
    batches = f"{spec.distribution_id}-B{spec.batch_size}-clients{spec.num_clients}-tries{spec.num_tries}"
    among = f"-of{spec.train_images}" if spec.train_images is not None and spec.split == "train" else ""
    return f"{batches}-seed{spec.seed}{among}-{spec.split}"


class TrainPrior(RuntimeOptions, DatasetOptions):
    """The training of an unconditional diffusion model (DDPM) on images that no client holds."""

    KIND: ClassVar[str] = "prior"

    split: Literal["train", "val", "all"] = Field(default="val", description="split to learn from")
    avoid: Names = Field(
        default=(), description="clients' batches to leave out: DISTRIBUTION-B<n>-clients<n>-tries<n>-seed<n>-SPLIT"
    )
    channels: Names = Field(default=("16", "32", "32"), description="width of the UNet at each resolution")
    layers: int = Field(default=1, ge=1, description="residual blocks at each resolution")
    steps: int = Field(default=1500, ge=1, description="steps of the optimiser")
    train_batch_size: int = Field(default=64, ge=1, description="images per step")
    lr: float = Field(default=2e-3, gt=0, description="peak learning rate of AdamW; cosine decay after a short warm-up")
    ema: float = Field(default=0.995, ge=0, lt=1, description="decay of the averaged weights, which are saved")
    train_precision: TrainPrecision = Field(default="float32", description=TRAIN_PRECISION)
    seed: int = Field(default=12, ge=0, description="seed of weights, noise and order")
    prior_dir: Path = runtime(Path("results/priors"), "where priors are kept")

    @field_validator("channels")
    @classmethod
    def _widths(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value:
            raise ValueError("channels: is empty; use multiples of 8, for example 16,32,32")
        for part in value:
            if not part.strip().isdecimal() or int(part) == 0 or int(part) % 8:
                raise ValueError(f"channels: {part!r}; use multiples of 8, for example 16,32,32")
        return tuple(str(int(part)) for part in value)

    @field_validator("avoid")
    @classmethod
    def _known_batches(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for part in value:
            avoided(part, "imagenet")  # the sizes of its splits are not known here
        return value

    @property
    def run_id(self) -> str:
        """Readable path plus the digest: the prior's folder under ``prior_dir``."""
        return f"{self.dataset}/{self.split}-{'-'.join(self.channels)}-steps{self.steps}-{self.digest}"

    @property
    def folder(self) -> Path:
        """Where the prior is written, in the format of diffusers."""
        return self.prior_dir / self.run_id


def avoided(name: str, dataset: str) -> tuple[BatchOptions, int]:
    """Return the batches that a name of ``avoid`` stands for, and the number of clients.

    Raises:
        ValueError: the name is malformed.
    """
    match = _BATCHES.fullmatch(name)
    if not match:
        raise ValueError(
            f"avoid: {name!r}; use DISTRIBUTION-B<n>-clients<n>-tries<n>-seed<n>-SPLIT, "
            "like random-B1-clients1-tries9-seed12-train"
        )
    distribution, _, classes = match[1].partition("-")
    options: dict[str, Any] = {"dataset": dataset, "distribution": distribution, "batch_size": int(match[2])}
    if classes:
        options["num_uniform_cls" if distribution == "balanced" else "num_target_cls"] = int(classes)
    options |= {"num_tries": int(match[4]), "seed": int(match[5]), "split": match[7]}
    options["train_images"] = None if match[6] is None else int(match[6])
    return BatchOptions(**options), int(match[3])


class DiffusionReconstruct(ImageAttack):
    """Image reconstruction by gradient matching within the denoising of a diffusion prior."""

    KIND: ClassVar[str] = "diffusion"

    attack: str = Field(default="diffusion", description="name of this attack in results")
    prior: str = Field(
        default="google/ddpm-cifar10-32", description="diffusers folder, or id of a model on the Hugging Face hub"
    )
    guidance: Literal["alternate", "dps", "none"] = Field(
        default="alternate",
        description="matching steps between denoising steps; posterior sampling through the denoised estimate; or none",
    )
    control: Literal["none", "random-gradients"] = Field(
        default="none", description="match noise of the same size as the observed gradients instead of the gradients"
    )
    sampler: Literal["ddpm", "ddim", "dpmpp", "euler", "euler-ancestral"] = Field(
        default="ddim", description="diffusers scheduler of the denoising"
    )
    diffusion_steps: int | None = Field(
        default=None, ge=1, le=1000, description="denoising steps (default: 50; of dps 1,000, as published)"
    )
    match_steps: int = Field(default=1, ge=1, description="alternate: matching steps per denoising step")
    match_lr: float = Field(default=0.1, gt=0, description="alternate: initial step size")
    match_lr_end: float = Field(default=0.01, gt=0, description="alternate: final step size")
    # Fixed by the matching loss of ten other clients of another victim at the paper's 1,000 steps, among 5e-4 to 4e-3.
    guidance_scale: float = Field(
        default=1e-3, gt=0, description="dps: zeta of Chung et al. (ICLR 2023, algorithm 1), for 1,000 denoising steps"
    )
    label_lr: float = Field(default=0.1, gt=0, description="initial step size of Adam on the label logits")
    label_lr_end: float = Field(default=0.01, gt=0, description="final step size of Adam on the label logits")
    refine_iterations: int = Field(default=0, ge=0, description="IG iterations (Adam, cosine) that refine the result")
    save_dir: Path = runtime(Path("outputs/diffusion_dlg"), "where run folders are created")

    @model_validator(mode="before")
    @classmethod
    def _usual_steps(cls, values: dict[str, Any]) -> dict[str, Any]:
        if values.get("diffusion_steps") is None:
            values = {**values, "diffusion_steps": 1000 if values.get("guidance") == "dps" else 50}
        return values

    @property
    def steps(self) -> int:
        """Denoising steps."""
        assert self.diffusion_steps is not None  # set by the validator
        return self.diffusion_steps

    @model_validator(mode="after")
    def _guidance_is_possible(self) -> Self:
        if self.guidance == "none" and (self.control != "none" or self.refine_iterations):
            raise ValueError("guidance none uses no gradient, so it has neither a control nor anything to refine")
        for option, kind in (
            ("match_steps", "alternate"),
            ("match_lr", "alternate"),
            ("match_lr_end", "alternate"),
            ("guidance_scale", "dps"),
        ):
            if self._is_set(option) and self.guidance != kind:
                raise ValueError(
                    f"{option} belongs to --guidance {kind} and has no effect with --guidance {self.guidance}"
                )
        if self.is_control and self.apply_agg_step:
            raise ValueError(
                "apply_agg_step lets the clients' gradients into the model, but a control must not see them"
            )
        if self.is_control and self.labels == "truth":
            raise ValueError("labels truth reveals what the client holds, but a control must not see it; use ilrg")
        if self.guidance == "dps" and self.sampler not in ("ddpm", "ddim"):
            raise ValueError("guidance dps needs --sampler ddpm or ddim, whose steps use the denoised estimate")
        return self

    @property
    def is_control(self) -> bool:
        """See :class:`gradleak.plan.jobs.images.ImageAttack`."""
        return self.guidance == "none" or self.control != "none"
