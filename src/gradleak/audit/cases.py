"""The updates that a command line names, each with the model that it started from."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from gradleak.audit import user_model
from gradleak.audit.options import AuditOptions, Told
from gradleak.audit.truth import Truth, read_truth
from gradleak.audit.update_files import Update, change, difference, read_update
from gradleak.errors import InputError

_FACTS = ("lr", "local_steps", "batch_size")
"""What a captured update may tell; options on the command line win."""


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
        given = {name: sent.facts[name] for name in _FACTS if sent.facts.get(name) is not None}
        told = options.told()
        given = {name: value for name, value in given.items() if name not in options.model_fields_set}
        told = told.model_copy(update={**given, "minutes": told.minutes / number})
        yield Case(model, update, told, None, options.output / f"round-{sent.round:04d}" / f"client-{sent.client}")
