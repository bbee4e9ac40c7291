"""An audit, from an update to what it gives away."""

from dataclasses import replace

import torch
from torch import nn

from gradleak.audit.as_gradient import (
    AsGradient,
    Assumption,
    as_gradient,
    check_change,
    check_finite,
    sign_of,
    trained,
    undecided,
)
from gradleak.audit.attacks import EXACT, Target, attack
from gradleak.audit.exact import Exact, exact
from gradleak.audit.findings import Attack, Audit
from gradleak.audit.names import match
from gradleak.audit.options import NO_SHAPE, Told
from gradleak.audit.runner import Runner
from gradleak.audit.scale import Scale, scale_of
from gradleak.audit.time_limit import Clock
from gradleak.audit.truth import Truth
from gradleak.audit.update_files import Kind, Update
from gradleak.audit.user_model import copied
from gradleak.clients.observation import Observation, trainable
from gradleak.errors import InputError
from gradleak.victims.head import head_of
from gradleak.victims.layers import linear_chain

_EXACT_SHARE = 0.7
"""Share of the time that exact inversion may take; the others need seconds, matching what is left."""

_FEWEST = 2
"""Classes at least."""

_DOUBTFUL = 4
"""How many times more entries of the last layer's bias must have the wrong sign to doubt what was told.

Of ten fair coins, 8 or more show a given side in 5 % of the cases."""

_SCALE_SHARE = 0.5
"""Share of the time left in which the last layer may tell the scale: with many classes it takes minutes."""


@torch.inference_mode(mode=False)  # attacks differentiate
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
    own, replaced = copied(model, running_statistics=told.bn_eval)
    shape = told.input_shape or (() if truth is None else truth.shape)
    if not shape:
        raise InputError(f"--input-shape is missing: {NO_SHAPE}")
    if truth is not None and truth.images is not None and truth.shape != shape:
        raise InputError(f"--truth: its images are {list(truth.shape)}; --input-shape says {list(shape)}")
    example = Observation({}, own, None, input_shape=shape).example()
    chain = linear_chain(own, example)
    head = head_of(own, example)
    if head.out_features < _FEWEST:
        raise InputError(f"model {type(own).__name__}: its last layer has 1 output; cross-entropy needs one per class")
    counts = None if truth is None else truth.counts(head.out_features)
    matched = match(update, own)
    check_finite(matched.tensors, matched.own_names)
    weights = {name: parameter.detach() for name, parameter in trainable(own).items()}
    check_change(matched.tensors, weights, update.source)
    sent = trained(matched.tensors)
    still = [matched.own_names[name] for name in matched.tensors if name not in sent]
    remarks = [*update.remarks, *replaced, *matched.remarks]
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
    target = Target(own, head, shape, sent, told, truth, counts, chain.output_function)
    read, found, of_sign = _read(target, update.kind, runner)
    remarks += matched.of_buffers() if read.kind == "delta" else []
    remarks += _doubts(sign_of(sent.get("head.bias"), majority=_DOUBTFUL), read.kind, found)
    inversion = None if found is None else found.inversion
    known = {"batch_size": told.batch_size, "scale_is_rate": read.scale_is_rate}
    scale = runner.measured(
        "the scale of the update",
        lambda: scale_of(inversion, head, read.gradients, **known),
        limited_to=_SCALE_SHARE,
    )
    if scale is None:  # too many classes for the time that is left
        scale = scale_of(inversion, head, {}, **known)
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
    return replace(attack(target, read, found, scale, result, runner), seconds=runner.clock.spent)


def _doubts(by_signs: Kind | None, kind: Kind, found: Exact | None) -> list[str]:
    """Return a remark if the signs of the last layer's bias contradict what the update was told to be.

    Read with the wrong sign, an update looks as if it gave nothing away.
    """
    if by_signs in (None, kind) or (found is not None and found.certified):
        return []
    names = {"gradient": "a gradient", "delta": "a weight change"}
    return [
        f"The signs of the last layer's bias are those of {names[by_signs]}, but the update is read as {names[kind]}: "
        "if before and after are swapped, or what it is was told wrongly, this audit misses what it gives away."
    ]


def _assumptions(told: Told, output_function: str | None) -> list[Assumption]:
    loss = {"unknown": "cross-entropy"}.get(told.loss, told.loss)
    listed = [Assumption(f"The loss is {loss}, without regularisation terms.", "assumed")]
    if told.smoothing:
        listed = [Assumption(f"The loss is {loss}; counts of labels are corrected for it.", "told")]
    if output_function:
        listed.append(Assumption(f"The loss acts on the logits before the model's {output_function}.", "assumed"))
    return listed


def _read(target: Target, sent_as: Kind | None, runner: Runner) -> tuple[AsGradient, Exact | None, Assumption]:
    """Read the update as a gradient, and invert it: that tells the sign too, since only the right one has images.

    Raises:
        InputError: nothing tells the sign.
    """
    certain = target.told.update_is or sent_as
    likely = certain or sign_of(target.tensors.get("head.bias"))
    other: Kind = "gradient" if likely == "delta" else "delta"
    order: list[Kind] = [certain] if certain else [likely or "gradient", other]
    weights = {name: parameter.detach() for name, parameter in trainable(target.model).items()}
    tried: list[tuple[AsGradient, Exact | None, list[Attack]]] = []
    certified = False
    for kind in order:
        runner.attacks.clear()
        read = as_gradient(target.tensors, weights, kind, target.told)
        found = _inverted(target, read, runner)
        tried.append((read, found, runner.attacks.copy()))
        certified = found is not None and found.certified > 0
        if certified:
            break
    if likely is None and not certified:
        if runner.interrupted:
            raise KeyboardInterrupt
        raise undecided(out_of_time=any(each.status == "out of time" for each in runner.attacks))
    read, found, runner.attacks[:] = tried[-1 if certified else 0]
    by = "as exact inversion shows" if certified else "by the signs of the last layer's bias"
    what = f"The update is a {'gradient' if read.kind == 'gradient' else 'weight change'}"
    return read, found, Assumption(f"{what}.", "told") if certain else Assumption(f"{what}, {by}.", "found")


def _inverted(target: Target, read: AsGradient, runner: Runner) -> Exact | None:
    if read.signs_only:
        runner.skip(EXACT, "not applicable", "an adaptive optimiser changed the sizes of the entries")
        return None
    if target.told.smoothing:
        runner.skip(EXACT, "not applicable", "needs a loss without label smoothing")
        return None
    return runner.run(EXACT, lambda: exact(target.observation(read)), share=_EXACT_SHARE)
