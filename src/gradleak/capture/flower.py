"""Stores the updates of a run of Flower's message API: on the server, or on a client before it sends.

::

    from gradleak.capture.flower import CaptureStrategy

    strategy = CaptureStrategy(FedAvg(), "updates", lr=0.1)         # in the ServerApp
    strategy.start(grid, arrays, num_rounds=3)

    app = ClientApp(mods=[CaptureMod("updates")])                   # or in the ClientApp

Both take what Flower's own strategies and mods expect: one :class:`ArrayRecord` in a message, or one of a given name.
Replies carry weights, so what was sent is kept beside them. The facts of a client are those given here; the scalars of
the configuration that the server sent (``config``) and of the metrics that the client returned (``metrics``); and
``lr`` and ``num_examples`` from these, where they have Flower's usual names ``lr`` and ``num-examples``.

Needs the extra ``gradleak[flower]``. Written against flwr 1.28 to 1.42 (Beutel et al., 2020, arXiv:2007.14390).
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gradleak.capture import layout, metadata
from gradleak.errors import InputError

try:
    from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord  # pyright: ignore
    from flwr.serverapp import Grid  # pyright: ignore
    from flwr.serverapp.strategy import Strategy  # pyright: ignore
except ImportError as error:
    raise ImportError("gradleak.capture.flower needs flwr: pip install 'gradleak[flower]'") from error

ROUND = "server-round"
"""Where Flower's strategies write the number of the round into the configuration that they send."""


class CaptureStrategy(Strategy):
    """A strategy that does what another one does, and stores every reply to a training message.

    A run that is started again continues after the last round in the folder.

    Args:
        strategy: any strategy. What a strategy around this one changes in the replies is stored, what one inside it
            changes is not.
        folder: a new or empty folder, or one with a capture.
        arrays: name of the array record, for messages with several of them.
        kind: what clients send: with ``delta``, they subtract the weights that they got.
        facts: what is known of every client, see :class:`gradleak.capture.metadata.Facts`.

    Raises:
        InputError: a bad argument; the folder holds other files or cannot be written to.
    """

    def __init__(
        self,
        strategy: Strategy,
        folder: Path | str,
        *,
        arrays: str = "arrays",
        kind: metadata.Kind = "weights",
        **facts: Any,
    ) -> None:
        self.strategy = strategy
        self.folder = Path(folder)
        self._reader = _Reader(arrays, kind, facts)
        self._done = layout.start(self.folder)
        self._sent: dict[int, _Sent] = {}

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Remember what is sent to whom."""
        messages = list(self.strategy.configure_train(server_round, arrays, config, grid))
        records: dict[int, dict[str, Tensor]] = {}  # most strategies send one record to all clients
        self._sent = {}
        for message in messages:
            record = self._reader.array_record(message)
            if id(record) not in records:
                records[id(record)] = _tensors(record)
            self._sent[message.metadata.dst_node_id] = _Sent(records[id(record)], _scalars(message, "config_records"))
        return messages

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Store the replies of clients that did not fail, by the number of the client's node.

        Raises:
            InputError: a message has no array record, or several and none of the given name; or a file cannot be
                written.
        """
        replies = list(replies)
        for reply in replies:
            if reply.has_content():
                node = reply.metadata.src_node_id
                self._reader.store(self.folder, self._done + server_round, str(node), self._sent.get(node), reply)
        self._sent = {}
        return self.strategy.aggregate_train(server_round, replies)

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """As the strategy does."""
        return self.strategy.configure_evaluate(server_round, arrays, config, grid)

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
        """As the strategy does."""
        return self.strategy.aggregate_evaluate(server_round, replies)

    def summary(self) -> None:
        """As the strategy does."""
        self.strategy.summary()


class CaptureMod:
    """A client mod that stores what the client got and what it returns; messages that are not for training pass.

    Mods before this one in the list change the reply after it was stored: in the first place it stores what leaves the
    client. A client is named by its ``partition-id``, or by the number of its node if it has none. Rounds have the
    server's numbers, so a second run needs another folder.

    Args:
        folder: a new or empty folder, or one with a capture; the clients of a simulation share it.
        arrays: as for :class:`CaptureStrategy`.
        kind: as for :class:`CaptureStrategy`.
        facts: as for :class:`CaptureStrategy`.

    Raises:
        InputError: as for :class:`CaptureStrategy`. When called: the server has not sent the number of the round, or
            the client has sent in this round already; Flower reports it as the failure of this client.
    """

    def __init__(
        self, folder: Path | str, *, arrays: str = "arrays", kind: metadata.Kind = "weights", **facts: Any
    ) -> None:
        self.folder = Path(folder).absolute()  # a simulation may run clients in another folder
        self._reader = _Reader(arrays, kind, facts)
        layout.start(self.folder)

    def __call__(self, msg: Message, ctxt: Context, call_next: Callable[[Message, Context], Message]) -> Message:
        """Let the client train, and store.

        Args:
            msg: what the server sent.
            ctxt: the client's context.
            call_next: the client, or the next mod.
        """
        if msg.metadata.message_type.split(".")[0] != "train":
            return call_next(msg, ctxt)
        client = str(ctxt.node_config.get("partition-id", ctxt.node_id))
        config = _scalars(msg, "config_records")
        number: Any = config.get(ROUND)
        if number is None:
            raise InputError(f"client {client}: the server's configuration has no {ROUND!r}, the number of the round")
        layout.check(self.folder, number, client, self._reader.facts)
        sent = _Sent(_tensors(self._reader.array_record(msg)), config)  # before training, which may empty the message
        reply = call_next(msg, ctxt)
        if reply.has_content():
            self._reader.store(self.folder, number, client, sent, reply)
        return reply


@dataclass(frozen=True)
class _Sent:
    """What the server sent to a client."""

    weights: dict[str, Tensor]
    config: dict[str, Any]


@dataclass(frozen=True)
class _Reader:
    """What to store of a message."""

    arrays: str
    kind: metadata.Kind
    facts: Mapping[str, Any]

    def __post_init__(self) -> None:
        metadata.check_facts(self.facts, "facts of the clients")

    def array_record(self, message: Message) -> ArrayRecord:
        records = message.content.array_records
        if len(records) == 1:
            return next(iter(records.values()))
        if self.arrays not in records:
            names = ", ".join(records) or "none"
            raise InputError(f"a message has no array record {self.arrays!r} (there: {names}); set arrays=")
        return records[self.arrays]

    def store(self, folder: Path, number: int, client: str, sent: _Sent | None, reply: Message) -> None:
        metrics = _scalars(reply, "metric_records")
        config = sent.config if sent else {}
        facts: dict[str, Any] = {"config": config, "metrics": metrics}
        count, rate = metrics.get("num-examples"), config.get("lr")
        if isinstance(count, int | float) and count >= 0 and count == int(count):
            facts["num_examples"] = int(count)
        if isinstance(rate, int | float) and rate >= 0:
            facts["lr"] = rate
        layout.write(
            folder,
            number,
            client,
            _tensors(self.array_record(reply)),
            kind=self.kind,
            before=sent.weights if sent else None,
            facts={**facts, **self.facts},
        )


def _tensors(record: ArrayRecord) -> dict[str, Tensor]:
    return {name: torch.from_numpy(array.numpy()) for name, array in record.items()}


def _scalars(message: Message, records: str) -> dict[str, Any]:
    """Return the entries of a message's configurations or metrics that JSON can hold; NaN becomes null."""
    found: dict[str, Any] = {}
    for record in getattr(message.content, records).values():
        for name, value in record.items():
            if isinstance(value, str | int | float):
                found[name] = None if isinstance(value, float) and not math.isfinite(value) else value
    return found
