"""The updates that a command line names, each with the model that it started from: listed first, then read."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError
from torch import Tensor, nn

from gradleak.audit import user_model
from gradleak.audit.options import AuditOptions, Told
from gradleak.audit.truth import Truth, read_truth
from gradleak.audit.update_files import Update, change, difference, read_tensors, read_update
from gradleak.errors import InputError
from gradleak.plan.cli import describe

if TYPE_CHECKING:
    from gradleak.capture.layout import Captured

_OF_GRADIENT = ("optimizer",)
_OF_WEIGHTS = ("lr", "local_steps", "optimizer", "momentum", "weight_decay")
"""What a captured gradient, or captured weights, may tell of a training, by the names of the options, which win."""


@dataclass(frozen=True)
class Contents:
    """What to audit.

    Attributes:
        model: with the weights that the server sent.
        update: what was sent.
        told: what is known about the training.
        truth: the batch, or None.
    """

    model: nn.Module
    update: Update
    told: Told
    truth: Truth | None


@dataclass(frozen=True)
class Case:
    """One update to audit.

    Attributes:
        output: folder for the report.
        read: reads it; raises InputError if it cannot be read or does not fit.
    """

    output: Path
    read: Callable[[], Contents]


def cases(options: AuditOptions) -> list[Case]:
    """Return the updates of a command line, none of which is read yet.

    Raises:
        InputError: no model can be built, or a folder that is no capture; one line.
    """
    make = user_model.factory(options.model)
    if options.update is not None and options.update.is_dir():
        return _captured(options, make, options.update)
    return [Case(options.output, lambda: _single(options, make))]


def _single(options: AuditOptions, make: user_model.Factory) -> Contents:
    truth = None if options.truth is None else read_truth(options.truth)
    sent = options.before or options.checkpoint
    model = (
        user_model.with_own_weights(make, options.model)
        if sent is None
        else user_model.with_weights(make, read_tensors(sent), str(sent))
    )
    if options.before is not None and options.after is not None:
        update = difference(options.before, options.after)
    else:
        assert options.update is not None
        update = read_update(options.update)
    return Contents(model, update, options.told(), truth)


def _captured(options: AuditOptions, make: user_model.Factory, folder: Path) -> list[Case]:
    """Return every client of every round of a folder that :mod:`gradleak.capture` wrote; they share the time."""
    from gradleak.capture.layout import clients

    if options.truth is not None:
        raise InputError("--truth: is of one batch; --update names a folder of many, so name one of its files")
    files = clients(folder)
    if not files:
        raise InputError(f"{folder}: holds no update")
    shared: dict[Path, dict[str, Tensor]] = {}
    return [
        Case(
            options.output / path.parent.name / path.stem,
            lambda path=path: _of_client(options, make, path, shared, 1 / len(files)),
        )
        for path in files
    ]


def _of_client(
    options: AuditOptions, make: user_model.Factory, path: Path, shared: dict[Path, dict[str, Tensor]], share: float
) -> Contents:
    """Read what one client sent.

    Args:
        options: of the command.
        make: makes the model.
        path: the client's file.
        shared: see :func:`gradleak.capture.layout.read`.
        share: of the time.
    """
    from gradleak.capture.layout import read

    sent = read(path, shared)
    source = f"round {sent.round}, client {sent.client}"
    if sent.before is not None:
        model = user_model.with_weights(make, sent.before, str(path))
    elif sent.kind == "weights":
        raise InputError(f"{path}: its weights are no use without those that it started from")
    elif options.checkpoint is not None:
        model = user_model.with_weights(make, read_tensors(options.checkpoint), str(options.checkpoint))
    else:
        model = user_model.with_own_weights(make, options.model)
    if sent.kind == "weights":
        assert sent.before is not None
        update = change(sent.before, sent.sent, source, f"the weights before {source}")
    else:
        update = Update(sent.sent, source, sent.kind)
    told, remarks = _told(options, sent, share, str(path))
    return Contents(model, replace(update, remarks=remarks), told, None)


def _told(options: AuditOptions, sent: "Captured", share: float, where: str) -> tuple[Told, tuple[str, ...]]:
    """Return what options and a captured update tell, with a share of the time, and what to say of it.

    Raises:
        InputError: what was captured cannot be.
    """
    names = _OF_GRADIENT if sent.kind == "gradient" else _OF_WEIGHTS
    facts = {name: sent.facts[name] for name in names if sent.facts.get(name) is not None}
    if isinstance(facts.get("optimizer"), str):
        facts["optimizer"] = facts["optimizer"].lower()  # torch's classes are written SGD, Adam
    if sent.facts.get("training") is not None:
        facts["bn_eval"] = not sent.facts["training"]
    # Several steps see several batches, whose images are attacked together.
    one = sent.kind == "gradient" or sent.facts.get("local_steps") == 1
    facts["batch_size"] = sent.facts.get("batch_size") if one else sent.facts.get("num_examples")
    given = {name: getattr(options, name) for name in Told.model_fields if name in options.model_fields_set}
    facts |= given
    remarks = []
    for name, nothing in (("batch_size", "no examples"), ("lr", "a learning rate of 0")):
        if facts.get(name) == 0:  # then nothing but zeros is to be expected; if there is more, it is not to be trusted
            facts[name] = None
            remarks.append(f"The capture says {nothing}.")
    try:
        return Told(**{**facts, "minutes": options.minutes * share}), tuple(remarks)
    except ValidationError as error:
        raise InputError(f"{where}: {describe(error, '')}") from error
