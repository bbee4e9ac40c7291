"""One run of diffusion-guided reconstruction, from spec to images and rows."""

from functools import partial

import numpy as np
import torch
from torch import Tensor

from gradleak.attacks.diffusion.control import blind
from gradleak.attacks.diffusion.guidance import Guidance, guided
from gradleak.attacks.diffusion.ids import image_ids, seen
from gradleak.attacks.diffusion.prior import Prior, load_prior
from gradleak.clients.round_inputs import client_images
from gradleak.clients.rounds import Batch, Round, prepare
from gradleak.errors import InputError
from gradleak.plan.catalogue import stands_for
from gradleak.plan.jobs.diffusion import DiffusionReconstruct, batches_id
from gradleak.runs.images import Result, attack
from gradleak.streams import stream


def run(spec: DiffusionReconstruct) -> Result:
    """Attack every client of every round, their aggregate, or both, with a diffusion prior.

    Raises:
        InputError: data or prior are missing or do not match, or the prior has seen the clients' images.
    """
    round_ = prepare(spec)
    facts = round_.data.facts
    prior = load_prior(spec.prior, channels=facts.channels, image_size=facts.image_size, device=round_.device)
    check_unseen(spec, round_, prior)
    seed = spec.seed if spec.dummy_seed is None else spec.dummy_seed
    # On the CPU, so that the noise is the same on every device.
    generator = torch.Generator().manual_seed(int(stream("denoising", seed).integers(2**63)))
    guidance = Guidance(
        kind=spec.guidance,
        sampler=spec.sampler,
        steps=spec.steps,
        match_steps=spec.match_steps,
        match_lr=(spec.match_lr, spec.match_lr_end),
        guidance_scale=spec.guidance_scale,
        label_lr=(spec.label_lr, spec.label_lr_end),
        objective=spec.cost_fn,
        indices=spec.indices,
        weights=spec.weights,
        tv_weight=spec.tv_weight,
        log_every=spec.log_every,
        refine=spec.refine_iterations,
        at_once=spec.at_once,
        generator=generator,
    )
    solve = partial(guided, guidance=guidance, prior=prior, progress=spec.progress)
    if spec.is_control:
        return attack(spec, round_, solve, _noise, see=partial(blind, seed=seed))
    return attack(spec, round_, solve, _noise)


def _noise(batch: Batch, labels: Tensor | None, rng: np.random.Generator) -> Tensor:
    """Return standard normal noise in the prior's space, whatever the labels."""
    return torch.from_numpy(rng.standard_normal(tuple(batch.images.shape), dtype=np.float32))


def check_unseen(spec: DiffusionReconstruct, round_: Round, prior: Prior) -> None:
    """Refuse a prior that was trained on a client's image; for foreign priors that is not known.

    Raises:
        InputError: the prior was trained on such an image.
    """
    if prior.seen is None or prior.dataset is None:
        return
    if prior.dataset != spec.dataset:
        if stands_for(prior.dataset) == stands_for(spec.dataset):
            raise InputError(
                f"--prior {spec.prior}: was trained on {prior.dataset}, which shares images with {spec.dataset}; "
                f"train one on {spec.dataset}, so that the clients' images can be excluded"
            )
        return
    held = torch.cat([images for clients in client_images(spec, round_.data) for images in clients])
    number = seen(prior.seen, image_ids(spec.dataset, spec.split, held))
    if number:
        raise InputError(
            f"--prior {spec.prior}: was trained on {number} of the clients' images, so a result would show what it "
            f"memorised; train one on another split, or with --avoid "
            f"{batches_id(spec)}"
        )
