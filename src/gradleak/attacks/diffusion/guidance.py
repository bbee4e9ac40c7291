"""Gradient matching within the denoising of a diffusion prior.

``alternate`` is the published scheme: before each denoising step, some steps down the matching loss. ``dps`` is
diffusion posterior sampling (Chung et al., ICLR 2023, algorithm 1): the derivative of the matching loss at the denoised
estimate is taken through the network to the noisy image. The step is theirs; the denoising step beside it is that of
the sampler (theirs: DDPM), and the estimate is clamped to the range of pixels. ``none`` denoises without any gradient
and shows what the prior invents.
"""

from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor
from tqdm import tqdm

from gradleak.attacks.diffusion.prior import Prior
from gradleak.attacks.images import objectives
from gradleak.attacks.images.engine import Matching, reconstruct
from gradleak.attacks.images.problem import Found, Loss, Problem
from gradleak.errors import InputError


@dataclass(frozen=True)
class Guidance:
    """Settings; see :class:`gradleak.plan.jobs.diffusion.DiffusionReconstruct`."""

    kind: Literal["alternate", "dps", "none"]
    sampler: str
    steps: int
    match_steps: int
    match_lr: tuple[float, float]
    guidance_scale: float
    label_lr: tuple[float, float]
    objective: str
    indices: str
    weights: str
    tv_weight: float
    log_every: int
    refine: int
    at_once: int | None
    generator: torch.Generator


class _Run:
    """All K = P R starts of all problems, in the prior's space [-1, 1]."""

    def __init__(self, problem: Problem, guidance: Guidance) -> None:
        self.problem, self.guidance = problem, guidance
        self.x = problem.start.flatten(0, 1).clone()
        self.logits = problem.label_start.flatten(0, 1).clone().requires_grad_()
        objective = objectives.build(guidance.objective, indices=guidance.indices, weights=guidance.weights)
        self.loss = Loss(problem, objective, tv_weight=guidance.tv_weight, at_once=guidance.at_once)
        self.labels = torch.optim.Adam([self.logits], lr=guidance.label_lr[0])
        self.diverged = torch.zeros(len(self.x), dtype=torch.bool, device=self.x.device)
        with torch.no_grad():
            nothing = objective(tuple(torch.zeros_like(g) for g in self.loss.target), self.loss.target)
        if (
            guidance.kind == "dps"
            and not nothing.isfinite().all()
            and all(g.isfinite().all() for g in self.loss.target)
        ):
            raise InputError(
                f"objective {guidance.objective} is not finite at a gradient of zeros, as guidance dps needs"
            )
        # The squared norm of the observed gradient, as measured by the objective.
        self.observed = nothing

    def normalised(self, x: Tensor) -> Tensor:
        """[-1, 1] -> the victim's normalised input."""
        return self.problem.low + (x + 1) / 2 * (self.problem.high - self.problem.low)

    def match(self, x: Tensor) -> Tensor:
        """Return the matching loss [K] of images in [-1, 1]; record starts that diverge."""
        loss, _ = self.loss(self.normalised(x), self.logits)
        self.diverged |= ~torch.isfinite(loss)
        return loss

    def derivatives(self, x: Tensor, of: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """Return the matching loss [K] and the whole objective, and the derivatives of the latter; record divergence.

        Args:
            x: images in [-1, 1], a function of ``of``.
            of: what to differentiate with respect to, besides the logits.
        """
        seen = self.normalised(x)
        loss, whole, by_seen, by_logits = self.loss.derivatives(seen, self.logits)
        self.diverged |= ~torch.isfinite(loss)
        return loss, whole, torch.autograd.grad(seen, of, by_seen)[0], by_logits

    def step_labels(self, gradient: Tensor | None, lr: float) -> None:
        if gradient is None:
            return
        self.labels.param_groups[0]["lr"] = lr
        self.logits.grad = torch.nan_to_num(gradient)
        self.labels.step()


def _unit(gradient: Tensor) -> Tensor:
    """Scale each start's derivative [K, ...] to a root mean square of 1, so that a step size means pixels."""
    size = gradient.flatten(1).square().mean(1).sqrt().clamp(min=1e-12)
    return torch.nan_to_num(gradient / size.view(-1, *(1,) * (gradient.dim() - 1)))


def _between(ends: tuple[float, float], part: float) -> float:
    return ends[0] + (ends[1] - ends[0]) * part


def guided(problem: Problem, guidance: Guidance, prior: Prior, *, progress: bool = False) -> Found:
    """Solve all problems.

    The starts are standard normal noise in the prior's space. The start whose final image has the smallest matching
    loss is kept. A keyboard interrupt ends the loop with the current images.

    Args:
        problem: the problems; ``start`` is noise.
        guidance: settings.
        prior: the diffusion model.
        progress: show a bar on standard error.
    """
    run = _Run(problem, guidance)
    scheduler = prior.scheduler(guidance.sampler, guidance.steps)
    run.x = run.x * scheduler.init_noise_sigma
    trace: list[Tensor] = []
    snapshots: dict[int, Tensor] = {}
    interrupted = False
    times = scheduler.timesteps
    bar = tqdm(times, desc="denoising", unit="step", disable=not progress, dynamic_ncols=True)
    try:
        for number, t in enumerate(bar):
            part = number / max(1, len(times) - 1)
            loss = _advance(run, prior, scheduler, t, part)
            trace.append(torch.where(run.diverged, torch.nan, loss).cpu())
            if (number + 1) % guidance.log_every == 0 or number == 0:
                snapshots[number + 1] = run.normalised(run.x.clamp(-1, 1)).reshape(problem.start.shape).cpu()
                bar.set_postfix_str(f"loss {float(loss.min()):.3g}", refresh=False)
    except KeyboardInterrupt:
        interrupted = True
    result = _found(run, trace, snapshots, interrupted=interrupted)
    return result if interrupted or not guidance.refine else _refined(run, result, progress)


def _advance(run: _Run, prior: Prior, scheduler: Any, t: Tensor, part: float) -> Tensor:
    """Take one denoising step with its guidance and return the matching loss [K]."""
    guidance = run.guidance
    if guidance.kind == "alternate":
        loss = run.diverged.new_zeros(len(run.x), dtype=run.x.dtype)
        for _ in range(guidance.match_steps):
            x = run.x.detach().requires_grad_()
            loss, _, by_x, by_logits = run.derivatives(x, x)
            run.x = (x - _between(guidance.match_lr, part) * _unit(by_x)).detach()
            run.step_labels(by_logits, _between(guidance.label_lr, part))
        # The published scheme clamps here. Euler's iterates exceed the pixel range by the noise level, so they are not
        # clamped.
        within = run.x if guidance.sampler.startswith("euler") else run.x.clamp(-1, 1)
        run.x = _denoise(run, prior, scheduler, t, within.detach())
        return loss
    if guidance.kind == "none":
        run.x = _denoise(run, prior, scheduler, t, run.x.detach())
        return run.match(run.x.clamp(-1, 1))
    x = run.x.detach().requires_grad_()
    flat = x.flatten(0, 1)
    noise = prior.noise(flat, t)
    keep = scheduler.alphas_cumprod[t].to(x)
    clean = ((flat - (1 - keep).sqrt() * noise) / keep.sqrt()).clamp(-1, 1).reshape(x.shape)
    loss, whole, by_x, by_logits = run.derivatives(clean, x)
    moved = _step(run, scheduler, noise.detach(), t, flat.detach()).reshape(x.shape)
    run.x = (moved - _posterior_step(run, by_x, whole)).detach()
    run.step_labels(by_logits, _between(guidance.label_lr, part))
    return loss


def _posterior_step(run: _Run, by_x: Tensor, whole: Tensor) -> Tensor:
    """Return the step of Chung et al. (ICLR 2023, algorithm 1): zeta / ||r|| times the derivative of ||r||^2.

    Their r is the residual of an image, in pixels. The scale of a gradient's residual depends on the victim, so it is
    taken relative to the observed gradient: ||r||^2 is the objective (the matching loss, plus the weighted total
    variation) divided by the matching loss of a zero gradient. zeta grows with the number n of pixel values like the
    squared distance between two images: once for the derivative by each of n values, once for moving all of them.

    Args:
        run: the starts.
        by_x: derivative of the objective with respect to the noisy images, [K, ...].
        whole: the objective, [K].

    Returns:
        Same shape as ``by_x``; zeros where nothing was observed or nothing is left to match.
    """
    size = whole.sqrt() * run.observed.sqrt()
    scale = torch.where(size > 0, run.guidance.guidance_scale * by_x[0].numel() / size, 0.0)
    return torch.nan_to_num(by_x * scale.view(-1, *(1,) * (by_x.dim() - 1)))


@torch.no_grad()
def _denoise(run: _Run, prior: Prior, scheduler: Any, t: Tensor, x: Tensor) -> Tensor:
    flat = x.flatten(0, 1)
    noise = prior.noise(scheduler.scale_model_input(flat, t), t)
    return _step(run, scheduler, noise, t, flat).reshape(x.shape)


def _step(run: _Run, scheduler: Any, noise: Tensor, t: Tensor, flat: Tensor) -> Tensor:
    """Take one step of the scheduler; noise is drawn from the run's own generator."""
    names = scheduler.step.__code__.co_varnames
    extra = {"generator": run.guidance.generator} if "generator" in names else {}
    return scheduler.step(noise, t, flat, **extra).prev_sample


def _found(run: _Run, trace: list[Tensor], snapshots: dict[int, Tensor], *, interrupted: bool) -> Found:
    x = run.x.detach().clamp(-1, 1)
    loss = run.match(x)
    loss = torch.where(run.diverged, torch.inf, loss)
    images = run.normalised(x)
    logits = run.logits.detach()
    return Found.choose(run.problem, images, logits, loss, run.diverged, trace, snapshots, interrupted=interrupted)


def _refined(run: _Run, result: Found, progress: bool) -> Found:
    """Refine the result by IG: cosine objective, signed Adam, box (Geiping et al., NeurIPS 2020)."""
    guidance, problem = run.guidance, run.problem
    logits = run.logits.detach().reshape(problem.label_start.shape)
    rows = torch.arange(len(logits), device=logits.device)
    start = replace(problem, start=result.images[:, None], label_start=logits[rows, result.chosen][:, None])
    matching = Matching(
        objective="sim",
        optimizer="adam",
        lr=0.02,
        schedule="step",
        iterations=guidance.refine,
        signed=True,
        boxed=True,
        tv_weight=guidance.tv_weight,
        log_every=max(1, guidance.refine // 5),
        at_once=run.loss.at_once,
    )
    better = reconstruct(start, matching, progress=progress)
    offset = len(result.trace)
    snapshots = {**result.snapshots, **{offset + at: shown for at, shown in better.snapshots.items()}}
    with torch.no_grad():
        sent = problem.client.send_many(better.images, better.targets, at_once=run.loss.at_once)
        loss = run.loss.objective(sent, problem.observed)  # IG's own loss has another objective and is not comparable
    return replace(
        better,
        loss=torch.where(better.loss.isfinite(), loss, torch.inf),
        chosen=result.chosen,
        snapshots=snapshots,
        diverged=result.diverged,
        trace=result.trace,
    )
