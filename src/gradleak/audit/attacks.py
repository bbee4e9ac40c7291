"""All attacks on an update that was read as a gradient, one after another."""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from gradleak.attacks.labels.guess import LabelGuess
from gradleak.attacks.labels.ilrg import ilrg
from gradleak.audit import defenses, labels, matching, measure
from gradleak.audit.as_gradient import AsGradient
from gradleak.audit.exact import Exact
from gradleak.audit.findings import Audit, Certified, Pictures
from gradleak.audit.options import Told
from gradleak.audit.runner import Runner
from gradleak.audit.scale import Scale, scale_of
from gradleak.audit.simulated import Simulated, simulated
from gradleak.audit.truth import Truth
from gradleak.clients.observation import HEAD, Observation
from gradleak.victims.head import Head

EXACT, MATCHING = "exact inversion", "gradient matching"
"""Names of attacks that are no label methods."""

_SIGNS_SUFFICE = ("bias-sign",)
"""Methods that need nothing but signs."""

_NEED_SCALE = ("consistency", "ilrg", "ilrg-estimate")
"""Methods that count, the one whose counts rest on most first; those of presence do without the scale."""


@dataclass(frozen=True)
class Target:
    """An update with the model that it was computed on.

    Attributes:
        model: a copy of the user's.
        head: its last layer.
        shape: of one input.
        tensors: what was sent, by name.
        told: what is known about the training.
        truth: the batch, or None.
        counts: [C] of its labels, or None.
        output_function: what the model puts its logits through, see :class:`gradleak.victims.layers.Chain`.
    """

    model: nn.Module
    head: Head
    shape: tuple[int, ...]
    tensors: dict[str, Tensor]
    told: Told
    truth: Truth | None
    counts: Tensor | None
    output_function: str | None

    @property
    def pixels(self) -> measure.Pixels:
        """How inputs become pixels."""
        return measure.Pixels(self.told.mean, self.told.std)

    def simulated(self, observation: Observation) -> Simulated:
        """Return the client as the server simulates it."""
        return simulated(observation, self.told, ends_in_softmax=self.output_function == "softmax")

    def observation(self, read: AsGradient) -> Observation:
        """Return what the server sees, up to the scale."""
        return Observation(
            read.gradients, self.model, self.told.batch_size, input_shape=self.shape, precision=read.precision
        )


def attack(target: Target, read: AsGradient, found: Exact | None, scale: Scale, result: Audit, runner: Runner) -> Audit:
    """Run all attacks but exact inversion, which reading the update took already.

    Args:
        target: the update.
        read: the same as a gradient, up to its scale.
        found: in that, by exact inversion; None if it did not run.
        scale: of it.
        result: what is known of the update so far.
        runner: runs them, and has run exact inversion.

    Returns:
        The result with what was found.
    """
    factor = scale.factor or 1.0
    scaled = {name: gradient / factor for name, gradient in read.gradients.items()}
    observation = replace(target.observation(read), gradients=scaled, batch_size=scale.batch_size)
    if found is not None:
        rescaled = tuple(gradient / factor for gradient in found.seen.gradients)
        found = replace(found, seen=replace(found.seen, gradients=rescaled))
        result = _with_certified(target, found, result)
    best = _labels(target, observation, found, read, scale, runner)
    counts = None if best is None else best.assignable_counts
    if target.told.defenses and counts is not None:
        seed = target.told.seed
        again = defenses.compare(observation, found, lambda seen, of: _estimate(target, seen, of), runner, seed)
        result = replace(result, defenses=again)
    matched = _matched(target, observation, counts, runner)
    measured = {} if target.counts is None else measure.label_floors(target.counts)
    truth = target.truth
    if truth is not None and (images := truth.images) is not None and scale.factor is not None:
        share = runner.measured(
            "what a defense let through", lambda: target.simulated(observation).unchanged(images, truth.labels)
        )
        measured |= {} if share is None else {"unchanged": share}
    return replace(
        result,
        attacks=tuple(runner.attacks),
        interrupted=runner.interrupted,
        pictures=result.pictures if matched is None else (*result.pictures, matched),
        metrics={**result.metrics, **measured},
    )


def _matched(target: Target, observation: Observation, counts: Tensor | None, runner: Runner) -> Pictures | None:
    """Match the gradient with labels of restored counts [C], in the time that is left."""
    if not target.told.matching or counts is None:
        why = "no counts of labels were restored to match with" if target.told.matching else "switched off"
        runner.skip(MATCHING, "not applicable", why)
        return None
    known = labels.label_list(counts)
    matched = runner.run(
        MATCHING,
        lambda: matching.match(
            observation,
            known,
            target.told,
            client=target.simulated(observation),
            seconds=runner.clock.left,
            progress=runner.progress,
        ),
        limits_itself=True,
    )
    if matched is None:
        return None
    runner.interrupted |= matched.interrupted
    why = f"{matched.iterations} iterations from {matched.starts} start{'s' * (matched.starts > 1)}"
    if math.isfinite(matched.loss):
        true = None if target.truth is None else target.truth.images
        metrics = {} if true is None else measure.of_images(matched.images, true, target.pixels)
        runner.note(loss=matched.loss, metrics=metrics, why=why)
    else:
        runner.note(status="failed", why=f"every start diverged; {why}")
    return Pictures(MATCHING, matched.images, matched.labels)


def _estimate(target: Target, seen: Observation, found: Exact | None) -> Tensor | None:
    """Return iLRG's counts [C] where a defense may have changed the scale; None if it does not apply."""
    if seen.lacks(HEAD):
        return None
    inversion = None if found is None else found.inversion
    scale = scale_of(inversion, target.head, seen.gradients, batch_size=seen.batch_size, scale_is_rate=False)
    gradients = {name: gradient / (scale.factor or 1.0) for name, gradient in seen.gradients.items()}
    return ilrg(replace(seen, gradients=_desmoothed(target, gradients))).assignable_counts


def _desmoothed(target: Target, gradients: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return gradients whose last layer counts labels as without label smoothing x: p - (1 - x) y - x / C over 1 - x.

    Exactly so where all probabilities are alike, as in an untrained model.
    """
    factor = 1 / (1 - target.told.smoothing)
    return {name: gradient * (factor if name in HEAD else 1.0) for name, gradient in gradients.items()}


def _labels(
    target: Target, observation: Observation, found: Exact | None, read: AsGradient, scale: Scale, runner: Runner
) -> LabelGuess | None:
    """Run all label methods; return the guess with counts that rests on most: consistency, else iLRG, else another."""
    seen = replace(observation, gradients=_desmoothed(target, observation.gradients))
    guesses: dict[str, LabelGuess] = {}
    for name, method in labels.methods(seen, found).items():
        if read.signs_only and name not in _SIGNS_SUFFICE:
            method = "an adaptive optimiser changed the sizes of the entries"
        elif scale.factor is None and name in _NEED_SCALE:
            method = "needs the scale of the update; give the learning rate with --lr"
        if isinstance(method, str):
            runner.skip(name, "not applicable", method)
            continue
        guess = runner.run(name, lambda method=method: method(seen))
        if guess is None:
            continue
        guesses[name] = guess
        metrics = {} if target.counts is None else measure.of_guess(guess, target.counts)
        runner.note(counts=labels.counts_dict(guess), metrics=metrics)
    usable = [guesses[name] for name in _NEED_SCALE if name in guesses and guesses[name].assignable_counts is not None]
    return usable[0] if usable else None


def _with_certified(target: Target, found: Exact, result: Audit) -> Audit:
    """Add what exact inversion certifies."""
    inversion = found.inversion
    rows = torch.nonzero(inversion.inputs_certified).flatten()
    rows = rows[inversion.labels[rows].argsort(stable=True)]  # by class
    inputs = inversion.inputs[rows].cpu()
    certified = [
        Certified(
            label=int(inversion.labels[row]),
            times=int(inversion.multiplicity[row]),
            mixture=int(inversion.mixture[row]),
            error=float(inversion.error[row]),
        )
        for row in rows
    ]
    truth, metrics = target.truth, {}
    if truth is not None and target.counts is not None:
        metrics = measure.of_certificates(found, certified, inputs, truth, target.counts)
    pictures = result.pictures
    if found.seen.shows_images and len(rows):
        images = inputs.reshape(-1, *target.shape)
        pictures = (*pictures, Pictures(EXACT, images, inversion.labels[rows].cpu()))
        if truth is not None and truth.images is not None:
            values = measure.psnr_of_certified(images, truth.images, target.pixels)
            certified = [
                replace(each, psnr=value) for each, value in zip(certified, values or [None] * len(rows), strict=True)
            ]
    counts = found.certified_labels
    return replace(
        result,
        certified_labels={c: int(counts[c]) for c in torch.nonzero(counts).flatten().tolist()},
        certified_images=tuple(certified),
        images_are=found.reads,
        metrics=metrics,
        pictures=pictures,
    )
