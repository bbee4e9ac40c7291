"""Stores what clients send in a training of one's own, for ``gradleak audit``.

::

    from gradleak.capture import Capture

    capture = Capture("updates")
    with capture.update(model, client="a", lr=0.1):
        train(model)

or, after ``loss.backward()``, ``capture.gradient(model, client="a")``.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from gradleak.capture import layout
from gradleak.errors import InputError

_WRAPPED = ("module", "_module", "_orig_mod")
"""The only child of DataParallel and DistributedDataParallel; of Opacus' GradSampleModule; of ``torch.compile``."""


class Capture:
    """Writes updates and gradients into a folder; :func:`gradleak.capture.layout.rounds` reads them.

    A call belongs to the round of the call before, unless that round has this client already, or the model's parameters
    at the start are others: then the next round begins. ``round=`` sets the number instead. A new ``Capture`` of the
    same folder continues after its last round.

    Nothing about the training changes: models keep their mode, gradients and random numbers. Names are those of the
    model inside DataParallel, Opacus and ``torch.compile``. Files can be read by their owner only; each is whole or
    absent.

    Args:
        folder: a new or empty folder, or one that a ``Capture`` wrote.

    Raises:
        InputError: the folder holds other files, or a capture of another version, or cannot be written to.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self._round = layout.start(self.folder)
        self._clients: set[str] = set()
        self._parameters: dict[str, Tensor] = {}
        """At the start of the round's first client."""

    @contextmanager
    def update(
        self, model: nn.Module, client: str | int = 1, *, round: int | None = None, **facts: Any
    ) -> Iterator[dict[str, Any]]:
        """Store a model's weights before and after the ``with`` block; nothing if the block raises.

        Args:
            model: the client's model, on any device, with the weights from the server; the block trains it in place.
            client: its name.
            round: number of the round, from 1.
            facts: what else is known: ``num_examples``, ``batch_size``, ``local_steps``, ``lr``, see
                :class:`gradleak.capture.metadata.Facts`.

        Yields:
            The facts, to which the block can add.

        Raises:
            InputError: a bad argument, the client has sent in this round already, or a file cannot be written.
        """
        bare = bare_model(model)
        before = _state(bare)
        client, number = self._place(str(client), round, bare, before, facts)
        known = dict(facts)
        try:
            yield known
        except BaseException:
            self._clients.discard(client)
            raise
        known.setdefault("training", model.training)
        layout.write(self.folder, number, client, _state(bare), kind="weights", before=before, facts=known)

    def gradient(self, model: nn.Module, client: str | int = 1, *, round: int | None = None, **facts: Any) -> None:
        """Store the gradients of a model after ``loss.backward()``, and its weights.

        Parameters without a gradient, frozen or unused, are left out. Gradients are stored as they are: divide
        accumulated ones, and unscale those of ``torch.amp.GradScaler``, before. Buffers are those after the forward
        pass, which in training mode has updated BatchNorm's.

        Args:
            model: the client's model, on any device.
            client: its name.
            round: number of the round, from 1.
            facts: as for :meth:`update`.

        Raises:
            InputError: no parameter has a gradient; or as for :meth:`update`.
        """
        bare = bare_model(model)
        sent = {_name(name): value.grad for name, value in bare.named_parameters() if value.grad is not None}
        if not sent:
            raise InputError("no parameter has a gradient; call capture.gradient after loss.backward()")
        known = {"training": model.training, **facts}
        before = _state(bare)
        client, number = self._place(str(client), round, bare, before, known)
        layout.write(self.folder, number, client, sent, kind="gradient", before=before, facts=known)

    def _place(
        self,
        client: str,
        number: int | None,
        model: nn.Module,
        before: Mapping[str, Tensor],
        facts: Mapping[str, Any],
    ) -> tuple[str, int]:
        """Check what can be checked before the training, and note the client in its round."""
        parameters = {name: before[name] for name in map(_name, dict(model.named_parameters())) if name in before}
        if number is None:
            again = client in self._clients or not _equal(parameters, self._parameters)
            number = self._round + 1 if again else self._round
        layout.check(self.folder, number, client, facts)
        if number != self._round:
            self._round, self._clients, self._parameters = number, set(), parameters
        self._clients.add(client)
        return client, number


def bare_model(model: nn.Module) -> nn.Module:
    """Return the model inside DataParallel, Opacus and ``torch.compile``.

    Raises:
        InputError: this is no model.
    """
    if not isinstance(model, nn.Module):
        raise InputError(f"model: is a {type(model).__name__}; give a torch.nn.Module")
    while True:
        children = list(model.named_children())
        if len(children) != 1 or children[0][0] not in _WRAPPED or not _is_wrapper(model, children[0][0]):
            return model
        model = children[0][1]


def _is_wrapper(model: nn.Module, child: str) -> bool:
    # A model of one's own may have a part called `module`.
    return child != "module" or isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel)


def _name(name: str) -> str:
    """``torch.compile`` of a part of a model adds a level to its names."""
    return ".".join(part for part in name.split(".") if part != "_orig_mod")


def _state(model: nn.Module) -> dict[str, Tensor]:
    """Copy parameters and buffers; a model may add other objects to its state."""
    state = {_name(name): value for name, value in model.state_dict().items() if isinstance(value, Tensor)}
    for name, value in state.items():
        if value.is_meta or is_lazy(value):
            raise InputError(f"{name}: has no values yet; capture after the model is initialised")
    return {name: value.detach().to("cpu", copy=True) for name, value in state.items()}


def _equal(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> bool:
    """Whether all values are equal; NaN equals nothing, so diverged weights begin a new round."""
    return first.keys() == second.keys() and all(
        value.dtype == second[name].dtype and torch.equal(value, second[name]) for name, value in first.items()
    )
