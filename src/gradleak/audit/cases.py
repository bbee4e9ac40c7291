"""The updates that a command line names, each with the model that it started from."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError
from torch import nn

from gradleak.audit import user_model
from gradleak.audit.options import AuditOptions, Told
from gradleak.audit.truth import Truth, read_truth
from gradleak.audit.update_files import Update, change, difference, read_update
from gradleak.errors import InputError
from gradleak.plan.cli import describe

if TYPE_CHECKING:
    from gradleak.capture.layout import Captured

_FACTS = ("lr", "local_steps", "optimizer", "momentum", "weight_decay")
"""What a captured update may tell of a training, by the names of the options, which win."""


@dataclass(frozen=True)
class Case:
    """One update to audit.

    Attributes:
        model: with the weights that the server sent.
        update: what was sent.
        told: what is known about the training.
        truth: the batch, or None.
        output: folder for the report.
    """

    model: nn.Module
    update: Update
    told: Told
    truth: Truth | None
    output: Path


def cases(options: AuditOptions) -> Iterator[Case]:
    """Return the updates of a command line, one after another.

    Raises:
        InputError: a file that cannot be read or does not fit; one line.
    """
    if options.update is not None and options.update.is_dir():
        yield from _captured(options, options.update)
        return
    truth = None if options.truth is None else read_truth(options.truth)
    model = user_model.build(options.model, options.before or options.checkpoint)
    if options.before is not None and options.after is not None:
        update = difference(options.before, options.after)
    else:
        assert options.update is not None
        update = read_update(options.update)
    yield Case(model, update, options.told(), truth, options.output)


def _captured(options: AuditOptions, folder: Path) -> Iterator[Case]:
    """Return every client of every round of a folder that :mod:`gradleak.capture` wrote; they share the time."""
    from gradleak.capture.layout import rounds

    if options.truth is not None:
        raise InputError("--truth: is of one batch; --update names a folder of many, so name one of its files")
    number = sum(1 for _ in rounds(folder))
    if not number:
        raise InputError(f"{folder}: holds no update")
    for sent in rounds(folder):
        source = f"round {sent.round}, client {sent.client}"
        if sent.before is None:
            if sent.kind == "weights":
                raise InputError(f"{folder}: {source}: its weights are no use without those that it started from")
            model = user_model.build(options.model, options.checkpoint)
        else:
            model = user_model.build(options.model, options.checkpoint, sent.before, f"{folder}: {source}")
        if sent.kind == "weights":
            assert sent.before is not None
            update = change(sent.before, sent.sent, source, f"the weights before {source}")
        else:
            update = Update(sent.sent, source, sent.kind)
        told = _told(options, sent, 1 / number, f"{folder}: {source}")
        yield Case(model, update, told, None, options.output / f"round-{sent.round:04d}" / f"client-{sent.client}")


def _told(options: AuditOptions, sent: "Captured", share: float, where: str) -> Told:
    """Return what options and a captured update tell, with a share of the time.

    Raises:
        InputError: what was captured cannot be.
    """
    facts = {name: sent.facts[name] for name in _FACTS if sent.facts.get(name) is not None}
    if sent.facts.get("training") is not None:
        facts["bn_eval"] = not sent.facts["training"]
    # Several steps see several batches, whose images are attacked together.
    one = sent.kind == "gradient" or sent.facts.get("local_steps") == 1
    images = sent.facts.get("batch_size") if one else sent.facts.get("num_examples")
    facts |= {} if images is None else {"batch_size": images}
    if sent.kind == "gradient":
        facts.pop("local_steps", None)
    given = {name: getattr(options, name) for name in Told.model_fields if name in options.model_fields_set}
    try:
        return Told(**{**facts, **given, "minutes": options.minutes * share})
    except ValidationError as error:
        raise InputError(f"{where}: {describe(error, '')}") from error
