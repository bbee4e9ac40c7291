"""An audit, from an update to what it gives away."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from gradleak.attacks.labels.guess import LabelGuess
from gradleak.attacks.labels.ilrg import ilrg
from gradleak.audit import defenses, labels, matching, measure
from gradleak.audit.as_gradient import (
    AsGradient,
    Assumption,
    Kind,
    as_gradient,
    check_finite,
    sign_of,
    trained,
    undecided,
)
from gradleak.audit.exact import Exact, exact
from gradleak.audit.findings import Audit, Certified, Pictures
from gradleak.audit.names import match
from gradleak.audit.options import Told
from gradleak.audit.runner import Runner
from gradleak.audit.scale import Scale, scale_of
from gradleak.audit.time_limit import Clock
from gradleak.audit.truth import Truth
from gradleak.audit.update_files import Update
from gradleak.audit.user_model import copied
from gradleak.clients.observation import HEAD, Observation, trainable
from gradleak.errors import InputError
from gradleak.victims.head import Head, head_of
from gradleak.victims.layers import linear_chain

_EXACT = "exact inversion"
_MATCHING = "gradient matching"
_EXACT_SHARE = 0.7
"""Share of the time that exact inversion may take; the others need seconds, matching what is left."""


@dataclass(frozen=True)
class _Case:
    """An update with the model that it was computed on.

    Attributes:
        model: a copy of the user's.
        head: its last layer.
        shape: of one input.
        tensors: what was sent, by name.
        told: what is known about the training.
        truth: the batch, or None.
        counts: [C] of its labels, or None.
    """

    model: nn.Module
    head: Head
    shape: tuple[int, ...]
    tensors: dict[str, Tensor]
    told: Told
    truth: Truth | None
    counts: Tensor | None

    def observation(self, read: AsGradient) -> Observation:
        """Return what the server sees, up to the scale."""
        return Observation(
            read.gradients, self.model, self.told.batch_size, input_shape=self.shape, precision=read.precision
        )


def audit(model: nn.Module, update: Update, told: Told, truth: Truth | None, *, progress: bool = False) -> Audit:
    """Attack an update by everything that applies.

    Args:
        model: the user's, with the weights that the server sent; it is not changed.
        update: what a client sent.
        told: what is known about the training.
        truth: the batch, to measure.
        progress: whether to show progress on standard error.

    Raises:
        InputError: input that does not fit together; one line.
    """
    runner = Runner(Clock(60 * told.minutes), progress=progress)
    own = copied(model)
    shape = told.input_shape or (() if truth is None else truth.shape)
    if not shape:
        raise InputError("--input-shape is missing: the shape of one input of the model, such as 3,32,32 or 784")
    if truth is not None and truth.images is not None and truth.shape != shape:
        raise InputError(f"--truth: its images are {list(truth.shape)}; --input-shape says {list(shape)}")
    example = Observation({}, own, None, input_shape=shape).example()
    chain = linear_chain(own, example)
    head = head_of(own, example)
    counts = None if truth is None else truth.counts(head.out_features)
    matched = match(update, own)
    check_finite(matched.tensors, matched.own_names)
    sent = trained(matched.tensors)
    still = [matched.own_names[name] for name in matched.tensors if name not in sent]
    remarks = list(matched.remarks)
    result = Audit(
        source=update.source,
        model=type(own).__name__,
        num_classes=head.out_features,
        input_shape=shape,
        remarks=tuple(remarks),
    )
    if not sent:
        return replace(result, has_data=False, batch_size=told.batch_size, seconds=runner.clock.spent)
    if still:
        more = f" and {len(still) - 1} more" if len(still) > 1 else ""
        remarks.append(f"{still[0]}{more}: zero throughout, taken for not trained.")
    case = _Case(own, head, shape, sent, told, truth, counts)
    read, found, of_sign = _read(case, update.kind, runner)
    remarks += matched.of_buffers() if read.kind == "delta" else []
    scale = scale_of(
        None if found is None else found.inversion,
        head,
        read.gradients,
        batch_size=told.batch_size,
        scale_is_rate=read.scale_is_rate,
    )
    if read.signs_only:
        scale = Scale(None, "unknown", "lost in an adaptive optimiser", told.batch_size)
    result = replace(
        result,
        batch_size=scale.batch_size,
        kind=read.kind,
        scale=scale.factor,
        scale_source=scale.source,
        scale_meaning=scale.meaning,
        assumptions=(of_sign, *read.assumptions, *_assumptions(told, chain.output_function)),
        remarks=tuple(remarks),
        zeros=1 - sum(int(t.count_nonzero()) for t in sent.values()) / sum(t.numel() for t in sent.values()),
    )
    return replace(
        _attacked(case, read, found, scale, result, runner, chain.output_function), seconds=runner.clock.spent
    )


def _assumptions(told: Told, output_function: str | None) -> list[Assumption]:
    loss = {"unknown": "cross-entropy"}.get(told.loss, told.loss)
    listed = [Assumption(f"The loss is {loss}, without regularisation terms.", "assumed")]
    if told.smoothing:
        listed = [Assumption(f"The loss is {loss}; counts of labels are corrected for it.", "told")]
    if output_function:
        listed.append(Assumption(f"The loss acts on the logits before the model's {output_function}.", "assumed"))
    return listed


def _read(case: _Case, kind: str | None, runner: Runner) -> tuple[AsGradient, Exact | None, Assumption]:
    """Read the update as a gradient, and invert it: that tells the sign too, since only the right one has images."""
    told = case.told
    weights = {name: parameter.detach() for name, parameter in trainable(case.model).items()}
    certain: Kind | None = told.update_is or (
        "delta" if kind == "delta" else "gradient" if kind == "gradient" else None
    )
    likely = certain or sign_of(case.tensors.get("head.bias"))
    order: Sequence[Kind] = (
        [certain] if certain else ["delta", "gradient"] if likely == "delta" else ["gradient", "delta"]
    )
    first: tuple[AsGradient, Exact | None] | None = None
    for number, each in enumerate(order):
        read = as_gradient(case.tensors, weights, each, told)
        if read.signs_only or told.smoothing:
            why = (
                "an adaptive optimiser changed the sizes of the entries"
                if read.signs_only
                else "needs a loss without label smoothing"
            )
            if not number:
                runner.skip(_EXACT, "not applicable", why)
            found = None
        else:
            before = len(runner.attacks)
            observation = case.observation(read)
            found = runner.run(_EXACT, lambda seen=observation: exact(seen), share=_EXACT_SHARE)
            if number and (found is None or not found.certified):
                del runner.attacks[before:]
            elif number:
                del runner.attacks[:before]
        first = first or (read, found)
        if found is not None and found.certified:
            source = "told" if certain else "found"
            by = "" if certain else ", as exact inversion shows"
            return read, found, Assumption(f"The update is a {_words(each)}{by}.", source)
    assert first is not None
    if certain:
        return *first, Assumption(f"The update is a {_words(certain)}.", "told")
    if likely is None:
        raise undecided()
    return *first, Assumption(f"The update is a {_words(likely)}, by the signs of the last layer's bias.", "found")


def _words(kind: Kind) -> str:
    return "gradient" if kind == "gradient" else "weight change"


def _attacked(
    case: _Case,
    read: AsGradient,
    found: Exact | None,
    scale: Scale,
    result: Audit,
    runner: Runner,
    output_function: str | None,
) -> Audit:
    told, truth = case.told, case.truth
    pixels = measure.Pixels(told.mean, told.std)
    factor = scale.factor or 1.0
    scaled = {name: gradient / factor for name, gradient in read.gradients.items()}
    observation = replace(case.observation(read), gradients=scaled, batch_size=scale.batch_size)
    if found is not None:
        rescaled = tuple(gradient / factor for gradient in found.seen.gradients)
        found = replace(found, seen=replace(found.seen, gradients=rescaled))
        result = _with_certified(case, found, result, pixels)
    best = _labels(case, observation, found, read, scale, runner)
    counted = None if best is None else best.assignable_counts
    if told.defenses and counted is not None and not read.signs_only:
        again = defenses.compare(observation, found, lambda seen, of: _estimate(case, seen, of), runner, told.seed)
        result = replace(result, defenses=again)
    pictures = list(result.pictures)
    if not told.matching:
        runner.skip(_MATCHING, "not applicable", "switched off")
    elif read.signs_only or counted is None:
        why = "an adaptive optimiser" if read.signs_only else "no method restored counts of labels to match with"
        runner.skip(_MATCHING, "not applicable", why)
    else:
        known = labels.label_list(counted)
        matched = runner.run(
            _MATCHING,
            lambda: matching.match(
                observation,
                known,
                told,
                output_function=output_function,
                seconds=runner.clock.left,
                progress=runner.progress,
            ),
            limits_itself=True,
        )
        if matched is not None:
            runner.interrupted |= matched.interrupted
            metrics = (
                {} if truth is None or truth.images is None else measure.of_images(matched.images, truth.images, pixels)
            )
            why = f"{matched.iterations} iterations from {matching.STARTS} starts"
            if math.isfinite(matched.loss):
                runner.note(loss=matched.loss, metrics=metrics, why=why)
            else:
                runner.note(status="failed", why=f"every start diverged; {why}")
            pictures.append(Pictures(_MATCHING, matched.images, matched.labels))
    floors = {} if case.counts is None else measure.label_floors(case.counts)
    return replace(
        result,
        attacks=tuple(runner.attacks),
        interrupted=runner.interrupted,
        pictures=tuple(pictures),
        metrics={**result.metrics, **floors},
    )


def _estimate(case: _Case, seen: Observation, found: Exact | None) -> Tensor | None:
    """Return iLRG's counts [C] where a defense may have changed the scale; None if it does not apply."""
    if seen.lacks(HEAD):
        return None
    inversion = None if found is None else found.inversion
    scale = scale_of(inversion, case.head, seen.gradients, batch_size=seen.batch_size, scale_is_rate=False)
    gradients = {name: gradient / (scale.factor or 1.0) for name, gradient in seen.gradients.items()}
    return ilrg(replace(seen, gradients=_desmoothed(case, gradients))).assignable_counts


def _desmoothed(case: _Case, gradients: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return gradients whose last layer counts labels as without label smoothing x: p - (1 - x) y - x / C over 1 - x.

    Exactly so where all probabilities are alike, as in an untrained model.
    """
    factor = 1 / (1 - case.told.smoothing)
    return {name: gradient * (factor if name in HEAD else 1.0) for name, gradient in gradients.items()}


def _labels(
    case: _Case, observation: Observation, found: Exact | None, read: AsGradient, scale: Scale, runner: Runner
) -> LabelGuess | None:
    """Run all label methods; return the guess with counts that rests on most: consistency, else iLRG, else another."""
    seen = replace(observation, gradients=_desmoothed(case, observation.gradients))
    guesses: dict[str, LabelGuess] = {}
    for name, method in labels.methods(seen, found).items():
        if read.signs_only and name != labels.BIAS_SIGN:
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
        metrics = {} if case.counts is None else measure.of_guess(guess, case.counts)
        runner.note(counts=labels.counts_dict(guess), metrics=metrics)
    usable = [guesses[name] for name in _BEST if name in guesses and guesses[name].assignable_counts is not None]
    return usable[0] if usable else None


_BEST = ("consistency", "ilrg", "ilrg-estimate")
_NEED_SCALE = _BEST
"""Methods that count; those of presence do without the scale."""


def _with_certified(case: _Case, found: Exact, result: Audit, pixels: measure.Pixels) -> Audit:
    """Add what exact inversion certifies."""
    inversion = found.inversion
    rows = torch.nonzero(inversion.inputs_certified).flatten()
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
    truth, metrics = case.truth, {}
    if truth is not None and case.counts is not None:
        metrics = measure.of_certificates(found, certified, inputs, truth, case.counts)
    pictures = result.pictures
    if found.seen.shows_images and len(rows):
        images = inputs.reshape(-1, *case.shape)
        pictures = (*pictures, Pictures(_EXACT, images, inversion.labels[rows].cpu()))
        if truth is not None and truth.images is not None:
            values = measure.psnr_of_certified(images, truth.images, pixels)
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
